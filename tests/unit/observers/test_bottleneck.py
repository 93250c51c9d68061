"""Unit tests of the bottleneck's name. Two pulses in, a verdict out."""

import pytest

from ingestd.observers.bottleneck import Pulse, find

START = Pulse(
    time_s=100.0,
    phase_s={"process": 5.0, "produce": 3.0, "other": 1.0, "waiting": 91.0},
    runnable_s=1.0,
    samples=1000,
    held_back={"redis": 7, "kafka": 3},
    received=50_000,
    batches=500,
    lag_records=0,
    batch_events_max=2000,
    rules=0,
    acknowledged={"redis": (500, 5.0), "kafka": (500, 9.0)},
)


def ten_seconds_later(**changes) -> Pulse:
    """With a loop that waited for most of them, unless something else is said."""
    phases = {"process": 0.2, "produce": 0.2, "other": 0.1, "waiting": 9.5} | changes.pop("phases", {})
    return START._replace(
        time_s=110.0,
        phase_s={name: START.phase_s[name] + seconds for name, seconds in phases.items()},
        samples=1100,
        received=START.received + changes.pop("events", 10_000),
        batches=START.batches + changes.pop("batches", 50),
        **changes,
    )


BUSY_WITH_RULES = {"process": 8.0, "produce": 0.5, "other": 0.5, "waiting": 1.0}
BUSY = {"process": 3.0, "produce": 3.5, "other": 3.0, "waiting": 0.5}


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("none", {}),
        ("redis", {"held_back": {"redis": 57, "kafka": 3}}),
        ("kafka", {"held_back": {"redis": 7, "kafka": 90}}),
        ("cpu", {"runnable_s": 5.0}),
        ("rules", {"phases": BUSY_WITH_RULES, "rules": 300}),
        ("loop", {"phases": BUSY_WITH_RULES}),
        ("loop", {"phases": BUSY, "rules": 300}),
        ("small_batches", {"phases": BUSY, "events": 500, "batches": 50, "batch_events_max": 10}),
        ("source", {"lag_records": 100_000}),
        ("none", {"lag_records": 1000}),
        ("none", {"lag_records": 1000, "batch_events_max": 1}),
    ],
)
def test_the_part_that_is_the_limit_is_named(part: str, changes: dict):
    assert find(START, ten_seconds_later(**changes)).part == part


def test_what_was_before_the_first_pulse_does_not_count():
    stalled = START._replace(held_back={"redis": 1000, "kafka": 0}, runnable_s=90.0)
    assert find(stalled, ten_seconds_later(held_back={"redis": 1000, "kafka": 0}, runnable_s=90.0)).part == "none"


def test_a_sink_that_holds_back_is_named_before_a_loop_that_is_busy():
    held = ten_seconds_later(held_back={"redis": 97, "kafka": 3}, phases=BUSY)
    assert find(START, held).part == "redis"


def test_a_loop_that_gets_no_processor_is_named_before_the_sinks_whose_answers_it_does_not_read():
    starved = ten_seconds_later(held_back={"redis": 97, "kafka": 3}, runnable_s=START.runnable_s + 5)
    assert find(START, starved).part == "cpu"


def test_a_sink_that_answers_quickly_is_not_slow_when_low_limits_hold_back():
    low = {"held_back": {"redis": 7, "kafka": 93}, "events": 50_000, "batches": 50_000, "batch_events_max": 1}
    quick = {"redis": (50_500, 20.0), "kafka": (50_500, 1009.0)}  # 20 ms each
    verdict = find(START, ten_seconds_later(**low, acknowledged=quick))
    assert verdict.part == "small_batches" and "pipeline.in_flight_events_max" in verdict.words
    slow = {"redis": (50_500, 20.0), "kafka": (50_500, 50_009.0)}  # 1 s each
    assert find(START, ten_seconds_later(**low, acknowledged=slow)).part == "kafka"
    assert find(START, ten_seconds_later(**low)).part == "kafka", "nor one that answers nothing quick"


def test_the_words_say_how_much():
    assert "90%" in find(START, ten_seconds_later(held_back={"redis": 97, "kafka": 3})).words
    assert "100,000" in find(START, ten_seconds_later(lag_records=100_000)).words
