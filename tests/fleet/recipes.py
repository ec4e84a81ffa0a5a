"""Runs the queries of docs/fleet.md on snapshots of 50 hosts on two days, and compares the
results with those of simple Python code.

Usage: python3 recipes.py PIDNS. Needs duckdb, polars and chdb from PyPI."""

import collections
import datetime
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import fleet

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTAINER = "5feceb671def"


def texts(fence):
    """Returns all code blocks of docs/fleet.md whose fence begins with these words."""
    return [text for _, text in fenced(fence)]


def blocks(fence):
    """Returns the same code blocks, each under the word that follows in its fence."""
    return {word: text for word, text in fenced(fence)}


def fenced(fence):
    page = (ROOT / "docs/fleet.md").read_text()
    return re.findall(rf"^```{fence} ?(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE)


def expected():
    """Computes the expected result of each query from the records, without a database."""
    snapshots = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in glob.glob("fleet/*/*.ndjson"):
        for line in pathlib.Path(path).read_text().splitlines():
            it = json.loads(line)
            key = it["host"]["hostname"], datetime.date.fromisoformat(it["captured_at"][:10])
            snapshots[key][it["record"]].append(it[it["record"]])
    first, last = map(datetime.date.fromisoformat, fleet.DAYS)
    dead, largest, incomplete, container = [], collections.Counter(), [], []
    processes = collections.Counter()
    for (host, day), lists in snapshots.items():
        if not lists["snapshot"][0]["complete"]:
            incomplete.append((host, day))
        of_container = set()
        for it in lists["namespace"]:
            if it["state"] == "dead":
                for held in it["holders"] or [dict.fromkeys(("kind", "pid", "comm", "path"))]:
                    held = [held[key] for key in ("kind", "pid", "comm", "path")]
                    dead.append((host, day, it["id"], *held))
            if it["container"] and day == last:
                name = it["container"]["runtime"], it["container"]["id"]
                largest[host, *name] += it["member_count"]
            if it["container"] and it["container"]["id"].startswith(CONTAINER):
                of_container.add(it["id"])
        for it in lists["process"]:
            processes[host] += (day == last) - (day == first)
            if it["namespace"] in of_container:
                container.append((host, day, it["pid"], it["nspid"][-1], it["comm"]))
    largest = [(*name, count) for name, count in largest.items()]
    growth = [(host, more) for host, more in processes.items() if more > 0]
    return {
        "happened": sorted(happened(), key=str),
        "dead": sorted(dead, key=str),
        "largest": sorted(largest, key=lambda it: (-it[3], it[0], it[2]))[:20],
        "incomplete": sorted(incomplete),
        "container": sorted(container),
        "growth": sorted(growth, key=lambda it: (-it[1], it[0])),
    }


def happened():
    """Computes what happened on the host web-007 between 12:00 and 12:10."""
    begin, end = (datetime.datetime.fromisoformat(f"{fleet.DAYS[-1]}T12:{it}") for it in ("00", "10"))
    for line in pathlib.Path("watch/web-007.ndjson").read_text().splitlines():
        it = json.loads(line)
        at = datetime.datetime.fromisoformat(it["captured_at"]).replace(tzinfo=None)
        content = it[it["record"]]
        after = content.get("after") or {}
        shown = after or content.get("before") or {}
        if not begin <= at <= end or content.get("fields") == ["members"]:
            continue
        match it["record"]:
            case "namespace_change":
                held = [f"{one['kind']} of {one['comm']}" for one in after.get("holders", [])]
                yield at, content["change"], content["id"], after.get("state"), held if after else None
            case "process_change":
                yield at, content["change"], str(content["pid"]), shown["comm"], None
            case "finding" | "notice":
                yield at, content["code"], None, content["message"], None


def duckdb_rows():
    import duckdb

    connection = duckdb.connect()
    queries = blocks("sql duckdb")
    connection.sql(queries.pop("table"))
    return {name: connection.sql(query).fetchall() for name, query in queries.items()}


def clickhouse_rows():
    from chdb.session import Session

    session = Session()
    queries = blocks("sql clickhouse")
    session.query(queries.pop("table"))
    rows = {}
    for name, query in queries.items():
        text = session.query(query.rstrip().rstrip(";"), "JSONCompactEachRow").bytes().decode()
        # ClickHouse returns dates as text.
        rows[name] = [tuple(row) for row in map(json.loads, text.splitlines())]
    return rows


def polars_rows():
    variables = {}
    exec(blocks("python polars")[""], variables)
    return {name: variables[name].rows() for name in ("dead", "growth")}


def same(name, rows, truth):
    """Compares the rows of a query with the expected rows. The order of rows must be equal,
    except for the queries `dead` and `happened`, since databases differ in how they sort nulls and
    text."""
    # ClickHouse returns an empty string for null if a namespace has no holder.
    rows, truth = [
        [tuple("" if it is None else str(it) for it in row) for row in answer]
        for answer in (rows, truth)
    ]
    return sorted(rows) == sorted(truth) if name in ("dead", "happened") else rows == truth


def main(pidns):
    # The shell's first child is the init of a new namespace. The shell keeps the dead namespace
    # alive after that child has exited.
    script = "/bin/true; echo ready; read -r _"
    holder = subprocess.Popen(
        ["unshare", "-p", "bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    real = fleet.document(pidns)
    holder.communicate(b"\n")
    made = fleet.document(pidns, "-i", ROOT / "tests/snapshots/host.json")
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        fleet.make(pidns, [real, made], "fleet")
        fleet.watch(pidns, "watch")
        truth = expected()
        assert all(truth.values()), "every question has an answer"
        wrong = 0
        for engine in (duckdb_rows, clickhouse_rows, polars_rows):
            for name, rows in engine().items():
                right = same(name, rows, truth[name])
                wrong += not right
                verdict = "as counted" if right else f"WRONG: {rows[:3]}, not {truth[name][:3]}"
                print(f"{engine.__name__.removesuffix('_rows')} {name}: {len(rows)} rows, {verdict}")
        os.chdir(ROOT)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
