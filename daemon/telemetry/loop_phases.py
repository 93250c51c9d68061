"""Where the loop's time goes: seconds by phase. Pure: the clocks are arguments."""

from collections.abc import Callable
from typing import Final

PHASES: Final = ("other", "poll", "process", "produce", "redis", "commit")
OTHER, POLL, PROCESS, PRODUCE, REDIS, COMMIT = range(len(PHASES))


class Phases:
    """Runs on: the loop. `enter` is called a fixed few times a batch and a wake-up, never an event.

    now_ns: monotonic; cpu_ns: CPU time of the loop's thread; ready_ns: how long that thread stood in a processor's
    queue, 0 where nobody knows. Marks read the first alone: the CPU clock is a system call, ten times as dear
    (0.6 µs; with the 120 marks of a full batch 2 % of the loop, and 0.5 % so).

    So a marked phase is wall time, with what it stood waiting for a processor. The other two come from the other two
    clocks: `waiting` is when the thread neither ran nor could have, `other` is when it did or could and nobody had
    marked it: health, HTTP, timers, and what uvloop does itself, such as reading sockets. All together are the wall
    clock.
    """

    __slots__ = ("_cpu_ns", "_current", "_floor_ns", "_now_ns", "_ready_ns", "_since_ns", "_spent_ns", "_started_ns")

    def __init__(
        self, now_ns: Callable[[], int], cpu_ns: Callable[[], int], ready_ns: Callable[[], int] = lambda: 0
    ) -> None:
        self._now_ns, self._cpu_ns, self._ready_ns = now_ns, cpu_ns, ready_ns
        self._started_ns = (now_ns(), cpu_ns(), ready_ns())
        self._since_ns = self._started_ns[0]
        self._spent_ns = [0] * len(PHASES)
        self._floor_ns = [0, 0]  # of other and waiting, as they were reported last
        self._current = OTHER

    def enter(self, phase: int) -> int:
        """What follows is of this phase. Gives the one before, which the caller enters again when it is done.

        Not so after an error: those that leave a marked place stop the daemon.
        """
        now_ns = self._now_ns()
        before = self._current
        self._spent_ns[before] += now_ns - self._since_ns
        self._since_ns = now_ns
        self._current = phase
        return before

    def seconds(self) -> dict[str, float]:
        """By phase since the start, `waiting` among them."""
        self.enter(self._current)
        marked_ns = sum(self._spent_ns) - self._spent_ns[OTHER]
        wall_ns = self._since_ns - self._started_ns[0]
        awake_ns = self._cpu_ns() - self._started_ns[1] + self._ready_ns() - self._started_ns[2]
        # The clocks are read one after the other, and a thread may sleep in a marked place too, on the interpreter's
        # lock: what is reported must not go back by that.
        self._floor_ns[0] = max(self._floor_ns[0], awake_ns - marked_ns)
        self._floor_ns[1] = max(self._floor_ns[1], wall_ns - marked_ns - self._floor_ns[0])
        found = {name: spent_ns / 1e9 for name, spent_ns in zip(PHASES, self._spent_ns, strict=True)}
        return found | {"other": self._floor_ns[0] / 1e9, "waiting": self._floor_ns[1] / 1e9}

    def ready_s(self) -> float:
        """How long the thread had work and no processor."""
        return (self._ready_ns() - self._started_ns[2]) / 1e9
