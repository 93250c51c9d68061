"""Bottleneck detection: which part of a daemon is the slowest, in words, from its totals at two moments. Pure.

A pulse is made of totals, so any two of one daemon say what happened between them.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# Shares of the time between two pulses from which a part is called the limit.
HELD_BACK: Final = 0.3
STARVED: Final = 0.25
BUSY: Final = 0.7
# Of the loop's own time; one phase that has this much is the one to look at.
MOST_OF_IT: Final = 0.5
# Events a batch below which what is done once a batch costs more than what is done once an event: about 100 µs a batch
# against 1 µs an event.
SMALL_BATCH: Final = 100
# Records that are behind while the loop has little to do, from which Kafka is called slow: fewer are always on the way.
BEHIND: Final = 2000
# A sink that answers a batch so quickly is not slow: when nothing is taken for want of its answers, the limits are low.
QUICK_S: Final = 0.1


class Pulse(NamedTuple):
    """Totals since the start of the daemon, but for `lag_records` and `batch_events_max`, which are of now.

    phase_s: CPU seconds of the loop by phase, and `waiting`. runnable_s: seconds in which the loop was ready to run and
    had no processor. held_back: samples in which nothing was taken, by the sink that was waited for. acknowledged: by
    sink, batches and the seconds that they took, one by one.
    """

    time_s: float
    phase_s: Mapping[str, float]
    runnable_s: float
    samples: int
    held_back: Mapping[str, int]
    received: int
    batches: int
    lag_records: int
    batch_events_max: int
    rules: int
    acknowledged: Mapping[str, tuple[int, float]] = {}


class Finding(NamedTuple):
    """`part` is one of redis, kafka, cpu, small_batches, rules, loop, source, none."""

    part: str
    words: str


def pulse(status: Mapping[str, Any]) -> Pulse:
    """The pulse in what `/status` gives."""
    return Pulse(
        time_s=status["uptime_s"],
        phase_s=status["loop_seconds"],
        runnable_s=status["loop_cpu_wait_seconds"] or 0.0,
        samples=status["held_back"]["samples"],
        held_back=status["held_back"]["by_sink"],
        received=sum(account["received"] for account in status["books"].values()),
        batches=status["batches"],
        lag_records=sum(row["records"] for row in status["partitions"]),
        batch_events_max=status["limits"]["batch_events_max"],
        rules=status["rules"],
        acknowledged={
            name: (sink["acknowledged_batches"], sink["acknowledged_seconds"]) for name, sink in status["sinks"].items()
        },
    )


def find(before: Pulse, after: Pulse) -> Finding:
    """What kept the daemon from doing more between the two."""
    took_s = max(1e-9, after.time_s - before.time_s)
    # First of all: a loop that gets no processor does not read the answers of its sinks either.
    starved = (after.runnable_s - before.runnable_s) / took_s
    if starved >= STARVED:
        return Finding(
            "cpu", f"CPU is short: {starved:.0%} of the time the loop was ready to run and no processor was free."
        )
    samples = max(1, after.samples - before.samples)
    held = {sink: (count - before.held_back.get(sink, 0)) / samples for sink, count in after.held_back.items()}
    slowest = max(held, key=lambda sink: held[sink], default="")
    if slowest and sum(held.values()) >= HELD_BACK:
        if _mean_batch(before, after) < SMALL_BATCH and _answers_quickly(slowest, before, after):
            return _low_limits(sum(held.values()), before, after)
        return _held_back(slowest, sum(held.values()))
    phases = {name: seconds - before.phase_s.get(name, 0.0) for name, seconds in after.phase_s.items()}
    waiting = phases.pop("waiting", 0.0) / took_s
    if 1 - waiting >= BUSY:
        return _busy_loop(phases, before, after, 1 - waiting)
    if after.lag_records > max(BEHIND, after.batch_events_max):
        return Finding(
            "source",
            f"Kafka gives records slowly: {waiting:.0%} of the time the loop had nothing to do, and "
            f"{after.lag_records:,} records are behind.",
        )
    return Finding("none", "Nothing: it keeps up.")


def _held_back(sink: str, share: float) -> Finding:
    if sink == "redis":
        return Finding("redis", f"Redis is slow: {share:.0%} of the time nothing was taken, as its replies were owed.")
    return Finding(
        "kafka", f"Kafka's brokers are slow: {share:.0%} of the time nothing was taken, as acknowledgements were owed."
    )


def _mean_batch(before: Pulse, after: Pulse) -> float:
    return (after.received - before.received) / max(1, after.batches - before.batches)


def _answers_quickly(sink: str, before: Pulse, after: Pulse) -> bool:
    """False when it acknowledged nothing."""
    batches, seconds = after.acknowledged.get(sink, (0, 0.0))
    batches_before, seconds_before = before.acknowledged.get(sink, (0, 0.0))
    return batches > batches_before and (seconds - seconds_before) / (batches - batches_before) < QUICK_S


def _low_limits(share: float, before: Pulse, after: Pulse) -> Finding:
    return Finding(
        "small_batches",
        f"Batches are small: {_mean_batch(before, after):.0f} events each, and {share:.0%} of the time nothing was "
        f"taken, as the limit of events in flight was reached. pipeline.batch_events_max is {after.batch_events_max}; "
        "see also pipeline.in_flight_events_max.",
    )


def _busy_loop(phases: Mapping[str, float], before: Pulse, after: Pulse, busy: float) -> Finding:
    mean = _mean_batch(before, after)
    if mean < SMALL_BATCH and after.batch_events_max < 2 * SMALL_BATCH:
        return Finding(
            "small_batches",
            f"Batches are small: {mean:.0f} events each, and the loop is busy {busy:.0%} of the time with what is done "
            f"once a batch. pipeline.batch_events_max is {after.batch_events_max}.",
        )
    whole = max(1e-9, sum(phases.values()))
    phase = max(phases, key=lambda name: phases[name])
    share = phases[phase] / whole
    if phase == "process" and share >= MOST_OF_IT and after.rules:
        return Finding(
            "rules",
            f"Decoding and rules: {share:.0%} of the loop's time, which is busy {busy:.0%}, with {after.rules} rules. "
            "Fewer rules, or more daemons in the group.",
        )
    return Finding(
        "loop", f"The loop itself: busy {busy:.0%}, most of it with {phase} ({share:.0%}). More daemons in the group."
    )
