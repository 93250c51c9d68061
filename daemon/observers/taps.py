"""Taps: a few of the events that pass, masked, for people who watch with `ingestd tap`. No I/O.

A tap costs the match of one rule an event, in the fast path. Only what is shown is decoded: at most `rate` a second.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from .._fastpath import UNREADABLE, Batch, Tapped
from ..errors import IngestdError
from ..events.rules import CompiledRule, MatchConfig, compile_match
from ..events.vocabulary import FAULT_MESSAGES, Fault, Verdict

# record_t.taps has a bit for each; the fast path's TAPS_MAX.
TAPS_MAX: Final = 8
# Events that wait for a reader who is slow; what comes beyond is counted as lost.
QUEUE_MAX: Final = 1000
RATE_MAX: Final = 1000
MASKED: Final = "***"


class TooManyTaps(IngestdError):
    """As many taps are open as the fast path has bits for."""


class Tap:
    """One open tap. `queue` carries dicts; `seen` counts all events that met the match."""

    def __init__(self, match: MatchConfig, rate: int, with_dead: bool, masks: Sequence[str]) -> None:
        self.rule: CompiledRule = compile_match(match)
        self.rate = rate
        self.with_dead = with_dead
        self.masks = [tuple(path.split(".")) for path in masks]
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE_MAX)
        self.seen = self.lost = 0
        self._allowance = float(rate)
        self._last_s: float | None = None

    def allowed(self, now_s: float) -> int:
        """How many events may be shown now: `rate` a second, a second's worth at once."""
        if self._last_s is not None:
            self._allowance = min(float(self.rate), self._allowance + (now_s - self._last_s) * self.rate)
        self._last_s = now_s
        return int(self._allowance)

    def show(self, rows: list[dict[str, Any]]) -> None:
        self._allowance -= len(rows)
        for row in rows:
            try:
                self.queue.put_nowait(row)
            except asyncio.QueueFull:
                self.lost += 1


class Taps:
    """The open taps. Runs on: the loop; `look` once a batch, and only while a tap is open.

    on_change: the fast path's table has to be built again, with `rules` and `dead_taps`.
    """

    def __init__(self, on_change: Callable[[], None], now: Callable[[], float]) -> None:
        self._on_change = on_change
        self._now = now
        self._taps: list[Tap] = []

    def __len__(self) -> int:
        return len(self._taps)

    @property
    def rules(self) -> tuple[CompiledRule, ...]:
        return tuple(tap.rule for tap in self._taps)

    @property
    def dead_taps(self) -> int:
        """A bit for each tap that sees bad events."""
        return sum(1 << bit for bit, tap in enumerate(self._taps) if tap.with_dead)

    def open(self, tap: Tap) -> None:
        """Raises TooManyTaps."""
        if len(self._taps) >= TAPS_MAX:
            raise TooManyTaps(f"{TAPS_MAX} taps are open already")
        self._taps.append(tap)
        self._on_change()

    def close(self, tap: Tap) -> None:
        self._taps.remove(tap)
        self._on_change()

    def look(self, batch: Batch, source_topic: Callable[[int], str], output_topics: Sequence[str]) -> None:
        """Show what there is to see of a batch. It was processed with the taps of `batch.table`, or with none yet."""
        now_s = self._now()
        for bit, tap in enumerate(self._taps):
            seen, chosen = batch.tapped(bit, tap.allowed(now_s))
            tap.seen += seen
            tap.show([describe(event, source_topic, output_topics, tap.masks) for event in chosen])


def describe(
    event: Tapped,
    source_topic: Callable[[int], str],
    output_topics: Sequence[str],
    masks: Sequence[tuple[str, ...]] = (),
) -> dict[str, Any]:
    """One event as a tap shows it. A bad one is shown as text, and not at all where values are masked."""
    shown: dict[str, Any] = {
        "source_topic": source_topic(event.source_topic_index),
        "partition": event.partition,
        "offset": event.offset,
        "timestamp_ms": event.timestamp_ms,
        "verdict": Verdict(event.verdict).name.lower(),
        "topics": [output_topics[index] for index in event.topics],
    }
    if event.fault:
        shown["fault"] = Fault(event.fault).name.lower()
        shown["reason"] = FAULT_MESSAGES[Fault(event.fault)]
    try:
        shown["event"] = masked(msgspec.json.decode(event.payload), masks)
    except UNREADABLE:
        # Whatever it is, nobody can say where in it a value is that must not be seen.
        shown["text"] = MASKED if masks else event.payload[:500].decode("utf-8", "replace")
    return shown


def masked(event: Any, masks: Sequence[tuple[str, ...]]) -> Any:
    """The event with the values at these paths hidden. A path that is not there hides nothing."""
    for path in masks:
        holder = event
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            holder[path[-1]] = MASKED
    return event
