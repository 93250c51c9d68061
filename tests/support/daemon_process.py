"""The real daemon as a child process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.wait import wait_until

TYPED = (
    "observability.logs",
    "observability.metrics",
    "observability.alerts",
    "observability.traces",
    "observability.health",
)
DEAD_LETTER = "observability.dead_letter"
INPUT = "observability.events"
ALL_TOPICS = [INPUT, *TYPED, DEAD_LETTER]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, section by section."""
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


class DaemonProcess:
    """`ingestd run` with a config made from `overrides`. Log and books are files in `folder`."""

    def __init__(self, folder: Path, bootstrap: str, redis_url: str, **overrides: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path, self.books_path = folder / "daemon.log", folder / "books.json"
        self.config_path = folder / "config.yaml"
        base = {
            "kafka": {
                "brokers": [bootstrap],
                "client_id": folder.name,
                "consumer_options": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"},
            },
            "redis": {"url": redis_url},
            "health": {"interval_s": 1},
            "http": {"listen": None},
            "logging": {"format": "json"},
        }
        if overrides.get("kafka", {}).get("group_protocol") == "consumer":
            base["kafka"]["consumer_options"] = {}
        self.config_path.write_text(yaml.safe_dump(merged(base, overrides)))
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> "DaemonProcess":
        self.books_path.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ingestd",
                    "run",
                    "-c",
                    str(self.config_path),
                    "--books-file",
                    str(self.books_path),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def state(self) -> dict[str, Any]:
        """The books file, {} before there is one."""
        try:
            return json.loads(self.books_path.read_text())
        except FileNotFoundError:
            return {}

    def wait_joined(self) -> "DaemonProcess":
        wait_until(lambda: self.running() and self.state().get("joined"), "the daemon joined its group", 60)
        return self

    def column(self, name: str) -> int:
        """One column of the books over all source topics, while the daemon runs."""
        assert self.running(), f"the daemon ended: {self.log_tail()}"
        return sum(account[name] for account in self.state().get("books", {}).values())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 40) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def log_lines(self) -> list[dict[str, Any]]:
        """What was written so far. A line that is being written is none yet."""
        written = self.log_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in written if line.startswith("{") and line.endswith("\n")]

    def log_tail(self) -> str:
        return self.log_path.read_text()[-3000:]
