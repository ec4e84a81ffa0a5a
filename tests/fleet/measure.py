"""Measures time and memory of the queries in docs/fleet.md, on snapshots of 1,000 hosts with
10,000 processes each. The snapshots take about 4.5 GB in a temporary directory below DIRECTORY.

Usage: python3 measure.py PIDNS DIRECTORY. Needs duckdb, polars and chdb from PyPI, and
/usr/bin/time (package time in Debian)."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import fleet
import recipes

HOSTS = 1_000
PROCESSES = 10_000


def make(pidns):
    """Writes one snapshot for each host. The files differ only in the host name and boot ID."""
    made = fleet.document(pidns, "-i", recipes.ROOT / "tests/snapshots/host.json")
    more = PROCESSES - len(made["processes"])
    text = fleet.records(pidns, fleet.host(made, 0, fleet.DAYS[1], more))
    target = pathlib.Path("fleet", fleet.DAYS[1])
    target.mkdir(parents=True)
    for number in range(HOSTS):
        own = text.replace(b"web-000", b"web-%03d" % number)
        own = own.replace(b"8000-%012d" % 0, b"8000-%012d" % number)
        (target / f"web-{number:03}.ndjson").write_bytes(own)
    return len(text) * HOSTS


def run_duckdb(name):
    import duckdb

    connection = duckdb.connect()
    queries = recipes.blocks("sql duckdb")
    connection.sql(queries["table"])
    return len(connection.sql(queries[name]).fetchall())


def run_clickhouse(name):
    from chdb.session import Session

    session = Session()
    queries = recipes.blocks("sql clickhouse")
    session.query(queries["table"])
    return session.query(queries[name].rstrip().rstrip(";"), "CSV").bytes().count(b"\n")


def run_polars(_):
    return len(recipes.polars_rows()["growth"])


def measure(what, run):
    """Runs a function in a child process, and prints its time and memory."""
    start, child = time.monotonic(), os.fork()
    if child == 0:
        try:
            print(f"{what}: {run()} rows", end="", flush=True)
            os._exit(0)
        finally:
            os._exit(1)
    _, status, usage = os.wait4(child, 0)
    said = "" if status == 0 else f"{what}: FAILED"
    print(
        f"{said}, {time.monotonic() - start:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of "
        f"CPU, {usage.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )


def main(pidns, directory):
    with tempfile.TemporaryDirectory(dir=directory) as below:
        os.chdir(below)
        print(f"{make(pidns) / 1e9:.1f} GB", flush=True)
        for name in ("dead", "incomplete", "largest", "container", "growth"):
            measure(f"duckdb {name}", lambda: run_duckdb(name))
        for name in ("dead", "growth"):
            measure(f"clickhouse {name}", lambda: run_clickhouse(name))
        measure("polars dead, growth", lambda: run_polars(None))
        # Measure the memory with time(1): the peak memory of a process that Python forks would
        # include the copy of Python.
        said = "pidns --host: %e s, %U + %S s of CPU, %M KiB"
        show = f"/usr/bin/time -f '{said}' {pidns} -q -i - --host web-500 > /dev/null"
        subprocess.run(f"cat fleet/*/*.ndjson | {show}", shell=True, check=True)
        os.chdir(recipes.ROOT)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
