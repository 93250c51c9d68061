"""ingestd installed in the lab as docs/install.md lays it out, and what a test asks of its units.

Instead of a wheel, which takes half a minute to build, /opt/ingestd gets a copy of the environment that runs the tests.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import redis
import yaml

from tests.support.daemon_process import merged
from tests.support.kafka_node import KafkaNode
from tests.support.paths import ROOT
from tests.support.redis_node import RedisNode
from tests.support.systemd_lab import SystemdLab
from tests.support.wait import wait_until

UNITS = ROOT / "systemd"
PREFIX = "opt/ingestd"
ETC_UNITS = "/etc/systemd/system"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
# What only the tests need stays out; the editable install is replaced by the package itself.
LEFT_OUT = ("__editable__*", "pip*", "setuptools*", "pkg_resources", "hypothesis*", "_pytest", "pytest*", "__pycache__")
# The unit hides the home folders, and the overlay has no other file systems: an interpreter there is mounted elsewhere.
PYTHON_HOME = "/opt/python"


def interpreter_prefix() -> str:
    """Where the lab finds the interpreter of this environment."""
    at_home = sys.base_prefix.startswith(("/root/", "/home/"))
    return PYTHON_HOME if at_home or os.stat(sys.base_prefix).st_dev != os.stat("/").st_dev else sys.base_prefix


def prepare() -> str:
    """What is mounted in the lab before it boots."""
    if interpreter_prefix() != PYTHON_HOME:
        return ""
    return (
        f"mkdir -p .{PYTHON_HOME}; mount --bind {sys.base_prefix} .{PYTHON_HOME}; "
        f"echo {PYTHON_HOME}/lib > etc/ld.so.conf.d/lab.conf; chroot . ldconfig"
    )


class InstalledLab:
    """The lab with the program, the units, the user and the folders. One for all tests of a run."""

    def __init__(self) -> None:
        self.lab = SystemdLab(prepare())

    def start(self) -> "InstalledLab":
        self.lab.start()
        self._install_program()
        for name in ("ingestd.service", "ingestd@.service"):
            self.lab.write(f"{ETC_UNITS}/{name}", (UNITS / name).read_text())
            # PID 1 is in a chroot here, and the kernel gives no user namespace from there.
            self.lab.write(f"{ETC_UNITS}/{name}.d/lab.conf", "[Service]\nPrivateUsers=no\n")
        self.lab.write("/etc/sysusers.d/ingestd.conf", (UNITS / "ingestd.sysusers.conf").read_text())
        self.lab.write("/etc/tmpfiles.d/ingestd.conf", (UNITS / "ingestd.tmpfiles.conf").read_text())
        self.lab.run("systemd-sysusers", "/etc/sysusers.d/ingestd.conf")
        self.lab.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/ingestd.conf")
        self.lab.run("systemctl", "daemon-reload")
        return self

    def _install_program(self) -> None:
        prefix, python = self.lab.root / PREFIX, f"{interpreter_prefix()}/bin/{VERSION}"
        packages = prefix / "lib" / VERSION / "site-packages"
        own = Path(sys.prefix) / "lib" / VERSION / "site-packages"
        shutil.copytree(own, packages, ignore=shutil.ignore_patterns(*LEFT_OUT))
        shutil.copytree(ROOT / "daemon", packages / "ingestd", ignore=shutil.ignore_patterns("__pycache__", "*.c"))
        (prefix / "pyvenv.cfg").write_text(f"home = {interpreter_prefix()}/bin\n")
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python").symlink_to(python)
        script = prefix / "bin" / "ingestd"
        script.write_text("#!/opt/ingestd/bin/python\nfrom ingestd.__main__ import main\nmain()\n")
        script.chmod(0o755)
        self.lab.run(f"/{PREFIX}/bin/python", "-m", "compileall", "-q", f"/{PREFIX}/lib", check=False)

    def stop(self) -> None:
        self.lab.stop()


class Service:
    """One unit under test, with topics, a group and a Redis database of its own. `close` puts the lab back."""

    UNITS_OF_TESTS = ("ingestd.service", "ingestd@.service")

    def __init__(self, lab: SystemdLab, kafka: KafkaNode, redis_node: RedisNode, name: str, database: int) -> None:
        self.lab, self.kafka, self.redis_node = lab, kafka, redis_node
        self.unit = "ingestd.service"
        self.group, self.database = name, database
        names = ("observability_events", "logs", "metrics", "alerts", "traces", "health_checks", "dead_letter")
        self.topics = {each: f"{name}.{each}" for each in names}
        self.input = self.topics["observability_events"]
        self.typed = tuple(self.topics[each] for each in names[1:6])
        self.begun_s = time.time()

    def configure(self, path: str = "/etc/ingestd/config.yaml", partitions: int = 4, **overrides: Any) -> None:
        """Write a config, and make its topics when they are not there."""
        base = {
            "kafka": {
                "brokers": [self.kafka.bootstrap],
                "group_id": self.group,
                "topics": self.topics,
                "consumer_options": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"},
            },
            "redis": {"url": f"redis://127.0.0.1:{self.redis_node.port}/{self.database}"},
            "health": {"interval_s": 2},
            "http": {"listen": None},
        }
        self.lab.write(path, yaml.safe_dump(merged(base, overrides)))
        there = self.kafka.admin.list_topics(timeout=10).topics if self.kafka.process else {self.input: None}
        if self.input not in there:
            self.kafka.create_topics(list(self.topics.values()), partitions)

    def drop_in(self, text: str = "[Service]", **settings: Any) -> None:
        """Settings of [Service] for this test, for the single unit and for instances."""
        text += "".join(f"\n{key}={value}" for key, value in settings.items()) + "\n"
        for name in self.UNITS_OF_TESTS:
            self.lab.write(f"{ETC_UNITS}/{name}.d/test.conf", text)
        self.lab.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *units: str, check: bool = True) -> int:
        return self.lab.run("systemctl", verb, *(units or (self.unit,)), check=check).returncode

    def show(self, name: str, unit: str = "") -> str:
        return self.lab.run("systemctl", "show", "--value", "-p", name, unit or self.unit).stdout.strip()

    def status(self, unit: str = "") -> str:
        return self.show("StatusText", unit)

    def wait_status(self, text: str, unit: str = "", timeout_s: float = 40) -> None:
        wait_until(lambda: text in self.status(unit), f"the status of {unit or self.unit} has {text!r}", timeout_s, 0.2)

    def start_working(self) -> None:
        self.systemctl("start")
        self.wait_status("4 partitions")

    def pid_outside(self) -> int:
        """The main process as this namespace numbers it."""
        wanted = self.show("MainPID")
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                numbers = (folder / "status").read_text().split("NSpid:\t")[1].splitlines()[0].split("\t")
            except OSError:
                continue  # it ended meanwhile
            if numbers[1:] == [wanted] and (folder / "root").stat().st_dev == self.lab.root.stat().st_dev:
                return int(folder.name)
        raise AssertionError(f"no process {wanted} in the lab")

    def journal(self, unit: str = "", priority: str = "debug") -> list[str]:
        """The messages of this test's time, and systemd's about the unit."""
        out = self.lab.run(
            "journalctl", "-u", unit or self.unit, "-p", priority, "-o", "json", f"--since=@{self.begun_s:.6f}"
        ).stdout
        return [str(json.loads(line)["MESSAGE"]) for line in out.splitlines()]

    def redis(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.redis_node.port, db=self.database, socket_timeout=20)

    def all_committed(self) -> bool:
        return self.kafka.committed(self.group, self.input) == self.kafka.ends(self.input)

    def members(self) -> set[str]:
        """Client ids of the group's members."""
        admin = self.kafka.admin  # kept: its futures die with it
        described = admin.describe_consumer_groups([self.group])[self.group].result(20)
        return {member.client_id for member in described.members}

    def close(self) -> None:
        self.lab.run("systemctl", "kill", "-s", "KILL", "ingestd.service", "ingestd@*.service", check=False)
        self.lab.run("systemctl", "stop", "ingestd.service", "ingestd@*.service", check=False)
        for name in self.UNITS_OF_TESTS:
            (self.lab.root / f"{ETC_UNITS}/{name}.d/test.conf".lstrip("/")).unlink(missing_ok=True)
        for path in (self.lab.root / "etc/ingestd").glob("*.yaml"):
            path.unlink()
        self.lab.run("systemctl", "daemon-reload")
        self.lab.run("systemctl", "reset-failed", check=False)
