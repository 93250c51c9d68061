"""Unit tests of happenings: the counter and the line say the same."""

import logging

import pytest

from ingestd.telemetry import happenings
from ingestd.telemetry.happenings import ASSIGNED, DROPPED, Happening, Happenings
from ingestd.telemetry.metrics import METRICS, Counters
from tests.support.harness import LogLines


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.counters, self.lines = Counters(), LogLines()
        log = logging.getLogger("test.happenings")
        log.handlers[:], log.propagate = [self.lines], False
        log.setLevel(logging.DEBUG)
        self.happenings = Happenings(self.counters, log, lambda: self.now_s)

    def said(self) -> list[tuple[object, ...]]:
        return [(row.getMessage(), row.reason, row.count, row.total) for row in self.lines.records]  # type: ignore


def test_what_is_counted_is_said_with_its_labels_and_the_total():
    world = World()
    world.happenings.note(DROPPED, "rule", "true", count=3)
    assert world.said() == [("events are dropped", "rule", 3, 3)]
    assert world.counters.value("ingestd_events_discarded_total", "rule", "true") == 3


def test_repetition_is_counted_and_said_again_only_later_with_the_total():
    world = World()
    for world.now_s in (0.0, 1.0, 9.9, 10.0):
        world.happenings.note(DROPPED, "rule", "true", count=5)
    assert world.said() == [("events are dropped", "rule", 5, 5), ("events are dropped", "rule", 5, 20)]
    assert vars(world.lines.records[1])["kept_back"] == 2


def test_each_reason_has_lines_of_its_own():
    world = World()
    world.happenings.note(DROPPED, "rule", "true")
    world.happenings.note(DROPPED, "redis_full", "true")
    assert [row[1] for row in world.said()] == ["rule", "redis_full"]


def test_a_rebalance_is_always_said():
    world = World()
    for _ in range(3):
        world.happenings.note(ASSIGNED, "assigned", partitions=["a-0"])
    assert world.lines.messages() == ["partitions assigned"] * 3


@pytest.mark.parametrize("what", [value for value in vars(happenings).values() if isinstance(value, Happening)])
def test_every_occurrence_counts_in_a_counter_that_there_is(what: Happening):
    assert METRICS[what.metric].kind == "counter"
    assert what.message[0].islower() and not what.message.endswith(".")
