"""What the fast path does with an event: its rules, where it goes, and what it is known by."""

import pytest

from ingestd._fastpath import Batch, IndexCache, process_batch
from ingestd.events.vocabulary import Fault, PartitionBy, Verdict
from tests.support.fastpath import CORRELATION_HEADERS, compiled, event, outcome, record, rule, run_records, table

TYPED = {
    "log": "observability.logs",
    "metric": "observability.metrics",
    "alert": "observability.alerts",
    "trace": "observability.traces",
    "health": "observability.health",
    "error": "observability.logs",
}


# Routing


@pytest.mark.parametrize(("name", "topic"), TYPED.items())
def test_an_event_goes_to_the_topic_of_its_type(name: str, topic: str):
    assert outcome(event(type=name)).topics == [topic]


def test_a_bad_event_goes_to_the_dead_letters_alone_and_not_to_redis():
    found = outcome(event(type="nonsense"), rule("copy", ["copies"]))
    assert (found.verdict, found.fault) == (Verdict.DEAD, Fault.UNKNOWN_TYPE)
    assert found.topics == ["observability.dead_letter"] and found.key is None and found.commands == []


def test_a_dead_letter_has_no_key_even_where_the_event_names_a_trace():
    assert outcome(event(level="loud", trace_id="t", correlation_id="c")).key is None


def test_a_record_that_is_only_indexed_is_stored_and_not_sent():
    found = outcome(event(), rule("copy", ["copies"]), index_only=True)
    assert found.topics == [] and found.verdict == Verdict.ROUTED and "events:log:e1" in found.keys


def test_a_bad_record_of_a_topic_that_is_only_indexed_is_a_dead_letter_all_the_same():
    assert outcome(b"{", index_only=True).topics == ["observability.dead_letter"]


def test_headers_are_asked_for_only_where_the_record_has_some():
    with_headers, without = record(event(), headers=[("a", b"1")]), record(event(), headers=[])
    bad = record(b"{", headers=[("a", b"1")])
    assert [send[3] for send in run_records([with_headers, without, bad], table()).sends()] == [1, 0, 3]


@pytest.mark.parametrize(
    ("partition_by", "keys"),
    [
        (PartitionBy.TRACE, [b"t", b"t", b"c", None]),
        (PartitionBy.CORRELATION, [b"c", b"t", b"c", None]),
        (PartitionBy.NONE, [None] * 4),
    ],
)
def test_the_partition_key_falls_back_to_the_other_id(partition_by: PartitionBy, keys: list[bytes | None]):
    events = [
        event(trace_id="t", correlation_id="c"),
        event(trace_id="t", correlation_id=""),
        event(trace_id=None, correlation_id="c"),
        event(),
    ]
    assert [outcome(value, partition_by=partition_by).key for value in events] == keys


def test_every_copy_has_the_key_of_its_event():
    rules, _ = compiled([rule("copy", ["a", "b"])])
    batch = run_records([record(event(trace_id="é")), record(event(trace_id="t" * 5000))], table(rules))
    assert [send[2] for send in batch.sends()] == ["é".encode()] * 3 + [b"t" * 5000] * 3


# The actions of rules


def test_drop_ends_an_event_without_a_trace():
    found = outcome(event(correlation_id="c"), rule("drop"), rule("copy", ["copies"]))
    assert found.verdict == Verdict.DROPPED and found.topics == [] and found.commands == []


def test_copies_made_before_a_drop_are_sent():
    found = outcome(event(), rule("copy", ["copies"]), rule("drop"))
    assert found.verdict == Verdict.DROPPED and found.topics == ["copies"] and found.commands == []


def test_keep_shields_an_event_from_later_rules():
    found = outcome(event(), rule("keep", services=["other"]), rule("keep", types=["log"]), rule("drop"))
    assert found.verdict == Verdict.ROUTED and found.topics == ["observability.logs"]


def test_route_replaces_the_typed_topic_and_ends_the_walk():
    found = outcome(event(), rule("route", ["a", "b"]), rule("drop"))
    assert found.topics == ["a", "b"] and "events:log:e1" in found.keys


def test_copies_stand_behind_the_typed_topic_in_the_order_of_the_rules():
    found = outcome(event(), rule("copy", ["b"]), rule("copy", ["a", "c"]))
    assert found.topics == ["observability.logs", "b", "a", "c"]


def test_copies_stand_behind_the_topics_of_a_later_route():
    assert outcome(event(), rule("copy", ["a"]), rule("route", ["b"])).topics == ["b", "a"]


def test_a_topic_gets_an_event_once():
    rules = [rule("copy", ["a", "observability.logs", "a"]), rule("copy", ["a"]), rule("route", ["a", "a"])]
    found = outcome(event(), *rules)
    assert found.topics == ["a", "observability.logs"]


def test_a_copy_may_go_to_another_types_topic():
    found = outcome(event(), rule("copy", ["observability.alerts"]))
    assert found.topics == ["observability.logs", "observability.alerts"]


def test_no_store_sends_and_stores_nothing():
    found = outcome(event(correlation_id="c"), rule("no_store"), rule("copy", ["a"]))
    assert found.verdict == Verdict.ROUTED and found.topics == ["observability.logs", "a"] and found.commands == []


def test_sample_at_0_drops_all_and_at_1_none():
    assert outcome(event(), rule("sample", rate=0)).verdict == Verdict.DROPPED
    assert outcome(event(), rule("sample", rate=1)).topics == ["observability.logs"]


def test_what_sampling_keeps_goes_on_to_the_next_rule():
    assert outcome(event(), rule("sample", rate=1), rule("route", ["a"])).topics == ["a"]


@pytest.mark.parametrize("place", ["trace_id", "correlation_id", "id"])
def test_sampling_decides_by_trace_then_correlation_then_id(place: str):
    high, low = "f" * 32, "0" * 32
    fields = {name: low for name in ("id", "correlation_id", "trace_id")}
    below = list(fields)[list(fields).index(place) + 1 :]
    value = event(**fields | {place: high} | {name: "" for name in below})
    assert outcome(value, rule("sample", rate=0.01)).verdict == Verdict.ROUTED
    value[place] = low
    assert outcome(value, rule("sample", rate=0.01)).verdict == Verdict.DROPPED


def test_an_event_without_any_id_is_sampled_by_its_place_and_so_alike_at_each_delivery():
    rules, _ = compiled([rule("sample", rate=0.5)])
    rows = [record({"type": "log", "level": "info"}, offset) for offset in range(200)]
    first, second = (run_records(rows, table(rules)).verdicts() for _ in range(2))
    dropped_count = sum(verdict == Verdict.DROPPED for verdict, _ in first)
    assert first == second and 60 < dropped_count < 140


def test_an_event_may_go_to_thirty_two_topics():
    names = [f"t{number}" for number in range(31)]
    assert outcome(event(), rule("copy", names)).topics == ["observability.logs", *names]


# What rules match


@pytest.mark.parametrize(
    ("match", "fields", "expected"),
    [
        ({"types": ["error"]}, {}, True),
        ({"types": ["metric", "trace"]}, {}, False),
        ({"levels": ["INFO"]}, {}, True),
        ({"levels": ["warn"]}, {"level": "WARNING"}, True),
        ({"levels": ["fatal"]}, {"level": "error"}, False),
        ({"services": ["a", "b"]}, {"service": "b"}, True),
        ({"services": ["a"]}, {"service": "A"}, False),
        ({"services": ["a"]}, {}, False),
        ({"services": ["a"]}, {"service": None}, False),
        ({"services": [""]}, {"service": ""}, True),
        ({"services": ["é😀"]}, {"service": "é😀"}, True),
        ({"components": ["a"]}, {"component": "a"}, True),
        ({"components": ["a"]}, {"service": "a"}, False),
        ({"services": ["a"], "components": ["b"]}, {"service": "a", "component": "c"}, False),
        ({"correlation_ids": ["c"]}, {"correlation_id": "c"}, True),
        ({"correlation_ids": ["c"]}, {"metadata": {"correlation_id": "c"}}, True),
        ({"correlation_ids": ["c"]}, {}, False),
        ({"labels": {"env": ["a", "b"]}}, {"labels": {"env": "b", "zone": "1"}}, True),
        ({"labels": {"env": ["a"], "zone": ["1"]}}, {"labels": {"env": "a"}}, False),
        ({"labels": {"env": ["a"], "zone": ["1"]}}, {"labels": {"env": "a", "zone": "1"}}, True),
        ({"labels": {"env": ["1"]}}, {"labels": {"env": 1}}, False),
        ({"labels": {"env": ["a"]}}, {"labels": {"env": ["a"]}}, False),
        ({"labels": {"env": ["a"]}}, {"labels": None}, False),
        ({"labels": {"env": ["a"]}}, {"metadata": {"env": "a"}}, False),
        ({"types": ["log"], "levels": ["info"], "labels": {"env": ["a"]}}, {"labels": {"env": "a"}}, True),
    ],
)
def test_a_rule_matches_with_and_between_and_or_within(match: dict, fields: dict, expected: bool):
    found = outcome(event(**fields), rule("drop", **match))
    assert (found.verdict == Verdict.DROPPED) is expected


def test_a_rule_sees_the_correlation_that_a_header_brings():
    headers = [("correlation_id", "é".encode())]
    assert outcome(event(), rule("drop", correlation_ids=["é"]), headers=headers).verdict == Verdict.DROPPED


# Which correlation


EVERYWHERE = {
    "correlation_id": "field",
    "metadata": {"correlation_id": "metadata"},
    "labels": {"correlation_id": "labels"},
}
BOTH_HEADERS = [("correlation_id", b"second"), ("X-Correlation-ID", b"first")]


@pytest.mark.parametrize(
    ("fields", "headers", "expected"),
    [
        (EVERYWHERE, BOTH_HEADERS, "field"),
        (EVERYWHERE | {"correlation_id": ""}, BOTH_HEADERS, "first"),
        (EVERYWHERE | {"correlation_id": None}, BOTH_HEADERS[:1], "second"),
        (EVERYWHERE | {"correlation_id": None}, [("X-Correlation-ID", b""), *BOTH_HEADERS[:1]], "second"),
        (EVERYWHERE | {"correlation_id": None}, [("X-Correlation-ID", b"\xff"), *BOTH_HEADERS[:1]], "second"),
        (EVERYWHERE | {"correlation_id": None}, [("x-correlation-id", b"first")], "metadata"),
        (EVERYWHERE | {"correlation_id": None}, None, "metadata"),
        (EVERYWHERE | {"correlation_id": None, "metadata": {"correlation_id": ""}}, None, "labels"),
        (EVERYWHERE | {"correlation_id": None, "metadata": {"correlation_id": 5}}, None, "labels"),
        (EVERYWHERE | {"correlation_id": None, "metadata": None}, [("other", b"x")], "labels"),
    ],
)
@pytest.mark.parametrize("labels_are_read", [False, True])
def test_the_first_correlation_that_is_there_wins(fields: dict, headers: list, expected: str, labels_are_read: bool):
    rules = [rule("drop", labels={"env": ["no"]})] if labels_are_read else []
    found = outcome(event(**fields), *rules, headers=headers)
    assert found.key == expected.encode() and f"correlation_index:{expected}" in found.indexes


def test_without_any_correlation_there_is_no_index_of_it():
    found = outcome(event(metadata={"correlation_id": None}, labels={"correlation_id": ["x"]}), headers=[("a", b"b")])
    assert found.indexes == {} and found.key is None


# The batch


def test_runs_count_what_came_and_how_it_ended():
    rules, _ = compiled([rule("drop", types=["metric"])])
    rows = [
        record(event(), 10, partition=0, timestamp_ms=111),
        record(b"", 5, partition=1),
        record(event(type="metric"), 12, partition=0),
        record(event(), 6, partition=1),
        record(b"", 19, partition=0),
    ]
    first, second = run_records(rows, table(rules)).runs()
    assert (first.partition, first.first_offset, first.last_offset, first.first_timestamp_ms) == (0, 10, 19, 111)
    assert (first.received_count, first.dropped_count, first.dead_count) == (3, 1, 1)
    assert (second.partition, second.first_offset, second.last_offset) == (1, 5, 6)
    assert (second.received_count, second.dropped_count, second.dead_count) == (2, 0, 1)


def test_a_batch_can_be_filled_again():
    batch, route_table = Batch(4), table()
    for size in (4, 1, 3):
        batch.load([record(event(id=f"r{size}-{n}"), n) for n in range(size)], CORRELATION_HEADERS)
        process_batch(batch, route_table, IndexCache(16), 0)
        assert len(batch.sends()) == len(batch.verdicts()) == size
        assert batch.resp().count(f"events:log:r{size}-".encode()) == size == batch.resp().count(b"events:log:")


def test_an_empty_batch_has_nothing_to_do():
    batch = run_records([], table())
    assert (batch.sends(), batch.resp(), batch.verdicts(), batch.reply_ends(), batch.runs()) == ([], b"", [], [], [])


def test_a_batch_takes_no_more_records_than_it_has_room_for():
    with pytest.raises(ValueError, match="do not fit"):
        Batch(1).load([record(event()), record(event())])


def test_faults_are_counted_by_class():
    batch = run_records([record(b"["), record(None), record(event()), record(b"[]")], table())
    assert batch.fault_counts() == {Fault.NOT_JSON: 1, Fault.TOMBSTONE: 1, Fault.WRONG_FIELD_TYPE: 1}


def test_an_event_that_a_sink_refuses_counts_as_dead_once():
    rules, _ = compiled([rule("drop", types=["metric"])])
    batch = run_records([record(event()), record(event(type="metric")), record(b"")], table(rules))
    assert [batch.mark_dead(index) for index in (0, 1, 2, 0, 1)] == [True, True, False, False, False]
    assert (batch.runs()[0].dropped_count, batch.runs()[0].dead_count) == (0, 3)
