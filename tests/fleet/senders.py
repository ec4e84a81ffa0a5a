"""Tests the parts of docs/fleet.md that collect snapshots. Runs the ssh command and the Ansible
playbook on this host, under two invented host names. Validates the Kubernetes manifest by the
schema of Kubernetes.

Usage: python3 senders.py PIDNS. Needs ansible-core and kubernetes-validate from PyPI."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import recipes
import yaml

HOSTS = ["web-01", "web-02"]


def program(directory, name, script):
    path = pathlib.Path(directory, name)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def are_snapshots(way):
    """Asserts that `fleet` contains one complete snapshot for each host, and no other file."""
    files = sorted(pathlib.Path("fleet").glob("*/*"))
    assert [file.name for file in files] == [f"{host}.ndjson" for host in HOSTS], files
    for file in files:
        head, *rest = map(json.loads, file.read_text().splitlines())
        assert sum(count or 0 for count in head["snapshot"]["counts"].values()) == len(rest), file
    print(f"{way}: {len(files)} snapshots")


def main(pidns):
    page = recipes.blocks
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.mkdir("bin")
        # Programs called ssh and sudo, which run the command on this host as the current user.
        program("bin", "ssh", 'shift 2; exec "$@"')
        options = 'while [ "${1#-}" != "$1" ]; do [ "$1" = -u ] && shift; shift; done'
        program("bin", "sudo", f'{options}; exec "$@"')
        os.symlink(pidns, "bin/pidns")
        path = f"{directory}/bin:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "LC_ALL": "C.UTF-8"}
        pathlib.Path("hosts").write_text("\n".join(HOSTS) + "\n")
        subprocess.run(["bash", "-ec", page("sh")[""]], check=True, env=env)
        are_snapshots("ssh")
        subprocess.run(["rm", "-r", "fleet"], check=True)
        # The first YAML block of docs/fleet.md is the playbook, the second one the manifest.
        play, manifest = map(yaml.safe_load, recipes.texts("yaml"))
        pathlib.Path("play.yml").write_text(yaml.safe_dump(play))
        made = f"fleet/{subprocess.check_output(['date', '-u', '+%F'], text=True).strip()}"
        os.makedirs(made)
        command = ["ansible-playbook", "-i", ",".join(HOSTS) + ",", "-c", "local", "play.yml"]
        play = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
        assert play.returncode == 0, play.stdout
        are_snapshots("ansible")
        os.chdir(recipes.ROOT)
    for version in ("1.30", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(manifest, version, strict=True)
        print(f"the manifest is valid for Kubernetes {version}")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
