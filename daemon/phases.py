"""Where the loop's time goes. Marks in, seconds by phase out. Pure: both clocks are arguments."""

from collections.abc import Callable
from typing import Final

PHASES: Final = ("other", "poll", "process", "produce", "redis", "commit")
OTHER, POLL, PROCESS, PRODUCE, REDIS, COMMIT = range(len(PHASES))


class Phases:
    """Runs on: the loop. `enter` is called a fixed few times a batch, never an event.

    cpu_ns: CPU time of the loop's thread; wall_ns: monotonic. A phase is CPU time, so `waiting`, which is what is left
    of the wall clock, is all time in which the thread did not run: nothing to do, or no processor for it. All phases
    together are the wall clock, always. `other` is what nobody marked: health, HTTP, timers, and what uvloop does
    itself, such as reading sockets.
    """

    __slots__ = ("_cpu_ns", "_current", "_since_ns", "_spent_ns", "_started_ns", "_waited_ns", "_wall_ns")

    def __init__(self, cpu_ns: Callable[[], int], wall_ns: Callable[[], int]) -> None:
        self._cpu_ns, self._wall_ns = cpu_ns, wall_ns
        self._since_ns = cpu_ns()
        self._started_ns = wall_ns() - self._since_ns
        self._waited_ns = 0
        self._spent_ns = [0] * len(PHASES)
        self._current = OTHER

    def enter(self, phase: int) -> int:
        """What follows is of this phase. Gives the one before, which the caller enters again when it is done.

        Not so after an error: those that leave a marked place stop the daemon.
        """
        now_ns = self._cpu_ns()
        before = self._current
        self._spent_ns[before] += now_ns - self._since_ns
        self._since_ns = now_ns
        self._current = phase
        return before

    def seconds(self) -> dict[str, float]:
        """By phase since the start, `waiting` among them."""
        self.enter(self._current)
        found = {name: spent_ns / 1e9 for name, spent_ns in zip(PHASES, self._spent_ns, strict=True)}
        # The two clocks are read one after the other: what never waits must not go back by that.
        self._waited_ns = max(self._waited_ns, self._wall_ns() - self._since_ns - self._started_ns)
        found["waiting"] = self._waited_ns / 1e9
        return found
