"""Unit tests of the taps. Processed batches in; what is shown out. The clock is an argument."""

import json

import pytest

from ingestd._fastpath import VOCABULARY, Batch, IndexCache, RouteTable, process_batch
from ingestd.events.rules import MatchConfig
from ingestd.observers.taps import MASKED, TAPS_MAX, Tap, Taps, TooManyTaps
from tests.support.fastpath import NOW_S, SETTINGS, compiled, event, record, rule

OUTPUTS = ("logs", "metrics", "alerts", "traces", "health", "dead", "copies")


class Looking:
    """Taps with a table and a clock of their own."""

    def __init__(self, *rules) -> None:
        self.now_s = 0.0
        self.taps = Taps(self.renew, lambda: self.now_s)
        self.rules = compiled(rules)[0]
        self.renew()

    def renew(self) -> None:
        self.table = RouteTable(self.rules, taps=self.taps.rules, dead_taps=self.taps.dead_taps, **SETTINGS)

    def open(self, rate: int = 100, with_dead: bool = False, masks: tuple[str, ...] = (), **match) -> Tap:
        tap = Tap(MatchConfig(**match), rate, with_dead, masks)
        self.taps.open(tap)
        return tap

    def process(self, *values) -> Batch:
        batch = Batch(max(1, len(values)))
        batch.load([record(value, offset) for offset, value in enumerate(values)])
        process_batch(batch, self.table, IndexCache(16), NOW_S)
        self.taps.look(batch, lambda index: "in", OUTPUTS)
        return batch


def shown(tap: Tap) -> list[dict]:
    return [tap.queue.get_nowait() for _ in range(tap.queue.qsize())]


def test_as_many_may_look_on_as_the_fast_path_has_bits_for():
    assert VOCABULARY["limits"]["TAPS_MAX"] == TAPS_MAX
    looking = Looking()
    for _ in range(TAPS_MAX):
        looking.open()
    with pytest.raises(TooManyTaps):
        looking.open()


def test_a_tap_shows_what_meets_its_match_with_where_it_goes():
    looking = Looking(rule("copy", ["copies"], services=["a"]))
    tap = looking.open(services=("a",))
    looking.process(event(service="a"), event(service="b"))
    (row,) = shown(tap)
    assert row["event"]["service"] == "a" and row["topics"] == ["logs", "copies"]
    assert (row["source_topic"], row["partition"], row["offset"], row["verdict"]) == ("in", 3, 0, "routed")


def test_a_tap_changes_nothing_of_what_becomes_of_an_event():
    values = [event(service="a", labels={"env": "prod"}), event(type="trace", trace_id="t", span_id="s"), b"{", None]
    plain, tapped = Looking(), Looking()
    tapped.open(labels={"env": ("prod",)}, with_dead=True)
    first, second = plain.process(*values), tapped.process(*values)
    assert (first.sends(), first.resp(), first.verdicts()) == (second.sends(), second.resp(), second.verdicts())


def test_dropped_events_are_seen_and_bad_ones_only_when_asked_for():
    looking = Looking(rule("drop", levels=["debug"]))
    quiet, all_of_it = looking.open(), looking.open(with_dead=True)
    looking.process(event(level="debug"), b'{"id":', event())
    assert [row["verdict"] for row in shown(quiet)] == ["dropped", "routed"]
    rows = shown(all_of_it)
    assert [row["verdict"] for row in rows] == ["dropped", "dead", "routed"]
    assert rows[1]["fault"] == "not_json" and rows[1]["text"] == '{"id":' and rows[1]["topics"] == ["dead"]


def test_each_tap_sees_its_own():
    looking = Looking()
    taps = [looking.open(services=(name,)) for name in "abc"]
    looking.process(*(event(service=name) for name in "abcab"))
    assert [len(shown(tap)) for tap in taps] == [2, 2, 1]
    looking.taps.close(taps[0])
    looking.process(event(service="a"), event(service="c"))
    assert [len(shown(tap)) for tap in taps] == [0, 0, 1]


def test_no_more_is_shown_than_the_rate_and_it_is_spread_over_the_batch():
    looking = Looking()
    tap = looking.open(rate=10)
    looking.process(*(event(id=str(n)) for n in range(100)))
    assert tap.seen == 100
    assert [row["offset"] for row in shown(tap)] == list(range(0, 100, 10))
    looking.process(event())
    assert shown(tap) == []
    looking.now_s = 0.5
    looking.process(*(event() for _ in range(100)))
    assert len(shown(tap)) == 5


def test_a_reader_that_is_slow_costs_no_memory():
    looking = Looking()
    tap = looking.open(rate=1000)
    for second in range(3):
        looking.now_s = float(second)
        looking.process(*(event() for _ in range(1000)))
    assert tap.queue.qsize() == 1000 and tap.lost == 2000


def test_masked_values_are_not_shown():
    looking = Looking()
    tap = looking.open(with_dead=True, masks=("message", "metadata.user.name", "labels.none", "data.x"))
    secret = event(message="secret", metadata={"user": {"name": "secret", "age": 5}}, data=[1])
    looking.process(secret, b'{"message": "secret"')
    rows = shown(tap)
    assert rows[0]["event"]["message"] == rows[0]["event"]["metadata"]["user"]["name"] == MASKED
    assert rows[0]["event"]["metadata"]["user"]["age"] == 5
    assert "secret" not in json.dumps(rows)
