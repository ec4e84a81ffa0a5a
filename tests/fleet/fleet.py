"""Makes snapshots of many hosts, by copying snapshots of one or two hosts."""

import json
import pathlib
import subprocess
import time

DAYS = ("2026-11-23", "2026-11-24")
BASE_TIME = "T14:28:00.123456Z"


def document(pidns, *arguments):
    """Runs pidns and returns its JSON document."""
    command = [pidns, "-q", "-f", "json", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def records(pidns, document):
    """Converts a JSON document to NDJSON with pidns, which fails if the document is invalid."""
    command = [pidns, "-q", "-i", "-", "-f", "ndjson"]
    text = json.dumps(document).encode()
    return subprocess.run(command, check=True, input=text, stdout=subprocess.PIPE).stdout


def host(base, number, day, more=0):
    """Returns a copy of a snapshot with another host name, boot ID and day, and with `more`
    additional processes."""
    host = json.loads(json.dumps(base))
    host["captured_at"] = day + BASE_TIME
    host["host"]["hostname"] = f"web-{number:03}"
    host["host"]["boot_id"] = f"00000000-0000-4000-8000-{number:012}"
    host["complete"] = number % 10 != 3
    if more:
        grow(host, more)
    return host


def grow(host, more):
    """Adds `more` processes to the largest namespace. They are copies of its first process."""
    largest = max(host["namespaces"], key=lambda it: it["member_count"])
    of_it = next(it for it in host["processes"] if it["namespace"] == largest["id"])
    pid = max(it["pid"] for it in host["processes"])
    for pid in range(pid + 1, pid + 1 + more):
        inner = [pid] * len(of_it["nspid"])
        new = {"pid": pid, "nspid": inner, "comm": "worker", "kernel_thread": False, "state": "S"}
        host["processes"].append({**of_it, **new})
        largest["members"].append(pid)
    largest["member_count"] += more


def make(pidns, bases, directory, count=50):
    """Writes the file DAY/HOST.ndjson for each host and day."""
    for index, day in enumerate(DAYS):
        target = pathlib.Path(directory, day)
        target.mkdir(parents=True)
        for number in range(count):
            base = bases[number % len(bases)]
            one = host(base, number, day, more=index * (number % 7))
            (target / f"{one['host']['hostname']}.ndjson").write_bytes(records(pidns, one))


def watch(pidns, directory):
    """Records the changes of this host while a held namespace dies, and writes the records to the
    files of three hosts. The records of the host web-007 begin at 11:59:59 on the last day."""
    command = [pidns, "watch", "-f", "ndjson", "--interval", "0.2", "--until", "dead-namespace"]
    recorder = subprocess.Popen([*command, "--for", "60"], stdout=subprocess.PIPE, text=True)
    first = recorder.stdout.readline()
    # The shell keeps the dead namespace alive after its first child, the init, has exited.
    script = "sleep 1; read -r _"
    holder = subprocess.Popen(["unshare", "-p", "bash", "-c", script], stdin=subprocess.PIPE)
    records = [json.loads(line) for line in [first, *recorder.stdout]]
    holder.communicate(b"\n")
    pathlib.Path(directory).mkdir()
    seconds = list(dict.fromkeys(it["captured_at"] for it in records))
    for number in (6, 7, 8):
        host = f"web-{number:03}"
        with open(f"{directory}/{host}.ndjson", "w") as file:
            for it in records:
                second = time.gmtime(11 * 3600 + 3599 + seconds.index(it["captured_at"]))
                at = time.strftime(f"{DAYS[-1]}T%H:%M:%SZ", second)
                name = {**it["host"], "hostname": host}
                print(json.dumps({**it, "captured_at": at, "host": name}), file=file)
