"""Finds librdkafka's threads that stand still, from the kernel's accounting of them.

Each of them wakes every second even when nothing is to be done (rd_kafka_max_block_ms). One that was not scheduled
once in many seconds hangs on a lock or in a call. A broker that is down, or a topic that is idle, does not look so.
"""

from pathlib import Path
from typing import NamedTuple

NAME_PREFIX = "rdk:"


class Mark(NamedTuple):
    """Differs between two looks when the thread ran in between."""

    name: str
    running: bool
    switches: int


class Standing(NamedTuple):
    mark: Mark
    since_s: float


def read_marks(folder: Path = Path("/proc/self/task")) -> dict[str, Mark]:
    """Of librdkafka's threads by thread id. One read a thread: 20 µs."""
    marks = {}
    for task in folder.iterdir():
        try:
            text = (task / "status").read_text()
        except OSError:
            continue  # it ended meanwhile
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if fields["Name"].startswith(NAME_PREFIX):
            switches = int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"])
            marks[task.name] = Mark(fields["Name"], fields["State"].startswith("R"), switches)
    return marks


class Threads:
    """Remembers since when each thread stands where it was last seen."""

    def __init__(self, read=read_marks) -> None:
        self._read = read
        self._standing: dict[str, Standing] = {}

    def silent(self, now_s: float, limit_s: float) -> list[str]:
        """Names of those that did not run for longer than `limit_s`."""
        standing = {}
        for task, mark in self._read().items():
            before = self._standing.get(task)
            stands = before is not None and before.mark == mark and not mark.running
            standing[task] = before if stands else Standing(mark, now_s)
        self._standing = standing
        return sorted(each.mark.name for each in standing.values() if now_s - each.since_s > limit_s)
