"""What the fast path writes to Redis: keys, index entries, and TTLs that are refreshed in time and not too often."""

import itertools

import pytest

from ingestd._fastpath import Batch, IndexCache, hash_key, process_batch, rebuild_index
from ingestd.events.vocabulary import LEVEL_NAMES, TYPE_NAMES, Verdict
from tests.support.fastpath import NOW_S, TIMESTAMP_MS, event, outcome, record, run_records, table
from tests.support.resp import Command, commands, named

DAY_S, WEEK_S, QUARTER_S, MARGIN_S = 86400, 604800, 7776000, 3600


# Keys


@pytest.mark.parametrize(
    ("fields", "class_key", "ttl_s"),
    [
        *[({"level": level}, f"logs:{level}:e1", DAY_S) for level in LEVEL_NAMES[:3]],
        *[({"level": level}, f"logs:{level}:e1", WEEK_S) for level in ("error", "fatal")],
        ({"type": "error", "level": "CRITICAL"}, "logs:fatal:e1", WEEK_S),
        ({"type": "alert"}, "alert_events:e1", QUARTER_S),
        ({"type": "trace", "trace_id": "t", "span_id": "s"}, "traces:t:s", WEEK_S),
    ],
)
def test_an_event_has_a_key_of_its_type_and_one_of_its_class(fields: dict, class_key: str, ttl_s: int):
    type_name = fields.get("type", "log").replace("error", "log")
    assert outcome(event(**fields)).keys == {f"events:{type_name}:e1": DAY_S, class_key: ttl_s}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "metric"},
        {"type": "health"},
        {"type": "trace"},
        {"type": "trace", "trace_id": "t"},
        {"type": "trace", "span_id": "s"},
        {"type": "trace", "trace_id": "t", "span_id": ""},
    ],
)
def test_other_events_have_the_key_of_their_type_alone(fields: dict):
    assert outcome(event(**fields)).keys == {f"events:{fields['type']}:e1": DAY_S}


@pytest.mark.parametrize("name", TYPE_NAMES)
def test_only_the_types_that_are_stored_are_written(name: str):
    found = outcome(event(type=name, correlation_id="c"), stored_types_mask=0b11111 & ~(1 << TYPE_NAMES.index(name)))
    assert found.commands == [] and found.verdict == Verdict.ROUTED
    assert outcome(event(type=name), stored_types_mask=1 << TYPE_NAMES.index(name)).keys


def test_key_parts_stand_as_they_are():
    found = outcome(event(type="trace", id="a:b", trace_id=":", span_id="{x} y"))
    assert set(found.keys) == {"events:trace:a:b", "traces:::{x} y"}


@pytest.mark.parametrize(
    ("fields", "ttl_s"),
    [
        ({}, DAY_S),
        ({"level": "error"}, WEEK_S),
        ({"type": "alert"}, QUARTER_S),
        ({"type": "metric"}, DAY_S),
        ({"type": "trace", "trace_id": "t", "span_id": "s"}, WEEK_S),
        ({"type": "trace", "trace_id": "t"}, DAY_S),
    ],
)
def test_the_compact_layout_writes_an_event_once_with_its_longest_ttl(fields: dict, ttl_s: int):
    found = outcome(event(correlation_id="c", **fields), compact=True)
    key = f"events:{fields.get('type', 'log')}:e1"
    assert found.keys == {key: ttl_s}
    assert all(members == [key] for members in found.indexes.values())


# Index entries


@pytest.mark.parametrize(
    ("fields", "settings", "members"),
    [
        ({}, {}, ["events:log:e1"]),
        ({}, {"logs_ttl_s": DAY_S + 1}, ["logs:info:e1"]),
        ({}, {"logs_ttl_s": DAY_S - 1}, ["events:log:e1"]),
        ({"level": "error"}, {}, ["logs:error:e1"]),
        ({"type": "metric"}, {}, ["events:metric:e1"]),
        ({"type": "alert"}, {}, ["alert_events:e1"]),
        ({"type": "trace", "trace_id": "t", "span_id": "s"}, {}, ["traces:t:s", "events:trace:e1"]),
        ({"type": "trace", "trace_id": "t", "span_id": "s"}, {"traces_ttl_s": DAY_S}, ["events:trace:e1"]),
        ({"type": "trace", "trace_id": "t"}, {}, ["events:trace:e1"]),
    ],
)
def test_the_member_is_the_longest_lived_key_and_of_a_trace_the_event_too(fields: dict, settings: dict, members: list):
    found = outcome(event(correlation_id="c", **fields), **settings)
    assert found.indexes["correlation_index:c"] == members


def test_both_indexes_name_the_event_correlation_first():
    assert list(outcome(event(correlation_id="c", trace_id="t")).indexes) == ["correlation_index:c", "trace_index:t"]


def test_an_index_that_is_off_is_not_written():
    value = event(correlation_id="c", trace_id="t")
    assert list(outcome(value, index_correlation=False).indexes) == ["trace_index:t"]
    assert list(outcome(value, index_trace=False).indexes) == ["correlation_index:c"]


@pytest.mark.parametrize(
    ("time", "score_ms"),
    [
        ("2026-11-24T09:51:28.123999999Z", 1795513888123),
        ("2026-11-24T15:21:28+05:30", 1795513888000),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2016-12-31T23:59:60Z", 1483228800000),
        ("0000-03-01T00:00:00Z", -62162035200000),
        (None, TIMESTAMP_MS),
        ("0001-01-01T00:00:00Z", TIMESTAMP_MS),
        ("0001-01-01T05:30:00+05:30", TIMESTAMP_MS),
        ("0001-01-01T00:00:00.001Z", -62135596799999),
    ],
)
def test_the_score_is_the_events_time_or_else_the_records(time: str | None, score_ms: int):
    assert outcome(event(correlation_id="c", timestamp=time)).scores == [score_ms]


def test_a_record_without_a_time_is_scored_by_the_clock():
    assert outcome(event(correlation_id="c"), timestamp_ms=-1, now_s=77).scores == [77_000]


# TTLs of indexes


class Indexer:
    """One cache over many batches of one event each."""

    def __init__(self, slot_count: int = 1024, compares_ttls: bool = False, **settings: object) -> None:
        self.table = table(**settings)
        self.cache = IndexCache(slot_count)
        self.cache.compares_ttls = compares_ttls

    def expires(self, now_s: int, **fields: object) -> list[Command]:
        """What an event makes of EXPIREs."""
        batch = run_records([record(event(**fields))], self.table, self.cache, now_s)
        return [command[2:] for command in named(commands(batch.resp()), b"EXPIRE")]


def test_the_ttl_of_an_index_is_set_once_and_again_when_its_margin_is_used_up():
    indexer = Indexer()
    assert indexer.expires(NOW_S, correlation_id="c") == [(b"90000",)]
    assert indexer.expires(NOW_S, correlation_id="c") == []
    assert indexer.expires(NOW_S + MARGIN_S - 1, correlation_id="c") == []
    assert indexer.expires(NOW_S + MARGIN_S, correlation_id="c") == [(b"90000",)]
    assert indexer.expires(NOW_S + MARGIN_S + 1, correlation_id="c") == []


def test_a_longer_lived_event_lengthens_the_ttl_at_once_and_a_shorter_lived_one_keeps_it():
    indexer = Indexer()
    assert indexer.expires(NOW_S, correlation_id="c") == [(b"90000",)]
    assert indexer.expires(NOW_S + 1, correlation_id="c", level="error") == [(b"608400",)]
    assert indexer.expires(NOW_S + 2, correlation_id="c") == []
    assert indexer.expires(NOW_S + 1 + MARGIN_S, correlation_id="c") == [(b"608400",)]


def test_a_trace_index_and_a_correlation_index_of_one_name_are_two():
    indexer = Indexer()
    assert len(indexer.expires(NOW_S, correlation_id="x", trace_id="x")) == 2


def test_a_cleared_cache_sets_every_ttl_again():
    indexer = Indexer()
    indexer.expires(NOW_S, correlation_id="c")
    indexer.cache.clear()
    assert indexer.expires(NOW_S, correlation_id="c") == [(b"90000",)]


def test_a_clock_that_goes_back_sets_the_ttl_again():
    indexer = Indexer()
    indexer.expires(NOW_S, correlation_id="c")
    assert indexer.expires(NOW_S - 10, correlation_id="c") == [(b"90000",)]


def test_two_indexes_that_share_a_slot_push_each_other_out_and_never_go_without():
    one, other = itertools.islice(same_slot(b"correlation_index:", 8), 2)
    indexer = Indexer(slot_count=8)
    for _ in range(3):
        assert indexer.expires(NOW_S, correlation_id=one) == [(b"90000",)]
        assert indexer.expires(NOW_S, correlation_id=other) == [(b"90000",)]


def same_slot(prefix: bytes, slot_count: int):
    """Names whose index keys share slot 0."""
    return (f"n{n}" for n in itertools.count() if hash_key(prefix + b"n%d" % n) % slot_count == 0)


def test_with_redis_7_an_unknown_ttl_is_only_ever_lengthened():
    indexer = Indexer(compares_ttls=True)
    assert indexer.expires(NOW_S, correlation_id="c") == [(b"90000", b"NX"), (b"90000", b"GT")]
    assert indexer.expires(NOW_S + 1, correlation_id="c", level="error") == [(b"608400", b"GT")]
    assert indexer.expires(NOW_S + 2, correlation_id="c", type="alert") == [(b"7779600",)]
    assert indexer.expires(NOW_S + 3, correlation_id="c") == []


def test_an_index_that_may_have_ended_meanwhile_gets_a_ttl_again_whatever_event_comes():
    # GT does nothing for a key without a TTL, and that is what ZADD makes of a key that ended.
    indexer = Indexer(compares_ttls=True)
    indexer.expires(NOW_S, correlation_id="c")
    assert indexer.expires(NOW_S + DAY_S + MARGIN_S + 1, correlation_id="c", level="error") == [
        (b"608400", b"NX"),
        (b"608400", b"GT"),
    ]


@pytest.mark.parametrize("compares_ttls", [False, True])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abcdefg", "abcdefg\x07"),
        ("abc", "abc\0\0\0\0\3"),
        ("12345678", "12345678\0"),
        ("", "\0"),
        ("a", "a\0"),
        ("same as 8", "same as 8\0\0\0\0\0\0\1"),
    ],
)
def test_keys_that_differ_in_their_end_are_never_taken_for_one(one: str, other: str, compares_ttls: bool):
    keys = [f"correlation_index:{name}".encode() for name in (one, other)]
    assert hash_key(keys[0]) != hash_key(keys[1])
    indexer = Indexer(compares_ttls=compares_ttls)
    indexer.expires(NOW_S, correlation_id=one)
    assert indexer.expires(NOW_S, correlation_id=other)


def test_only_index_keys_have_a_hash():
    assert hash_key(b"trace_index:x") != hash_key(b"correlation_index:x")
    with pytest.raises(ValueError, match="not an index key"):
        hash_key(b"events:log:x")


@pytest.mark.parametrize("slot_count", [0, 3, -8, 1000])
def test_the_cache_has_a_power_of_two_of_slots(slot_count: int):
    with pytest.raises(ValueError, match="power of two"):
        IndexCache(slot_count)


# Trims


def trims(members_max: int, event_count: int, slot_count: int = 1024, names: tuple[str, ...] = ("c",)) -> int:
    rows = [record(event(id=f"i{n}", correlation_id=names[n % len(names)]), n) for n in range(event_count)]
    batch = run_records(rows, table(index_members_max=members_max), IndexCache(slot_count))
    found = commands(batch.resp())
    assert [found[index][0] for index in batch.trim_replies()] == [b"ZREMRANGEBYRANK"] * len(batch.trim_replies())
    assert len(named(found, b"ZREMRANGEBYRANK")) == len(batch.trim_replies())
    return len(batch.trim_replies())


@pytest.mark.parametrize(
    ("members_max", "step"), [(1, 1), (16, 1), (31, 1), (32, 2), (160, 10), (1024, 64), (10_000, 64)]
)
def test_an_index_is_trimmed_often_enough_to_stay_near_its_limit(members_max: int, step: int):
    # A slot begins at a count below the step, by chance.
    assert trims(members_max, 640) - 640 // step in (0, 1)


def test_an_index_without_a_limit_is_never_trimmed():
    assert trims(0, 1000) == 0


def test_indexes_that_push_each_other_out_are_trimmed_all_the_same():
    names = tuple(itertools.islice(same_slot(b"correlation_index:", 8), 2))
    assert trims(160, 2000, slot_count=8, names=names) in range(100, 300)  # 200 in the mean: one in ten


# After a reconnect


def test_the_bytes_built_again_after_a_reconnect_set_every_ttl():
    rows = [record(event(id=f"i{n}", correlation_id="c", trace_id=f"t{n % 3}"), n) for n in range(20)]
    rows.append(record(b"", 20))
    cache, route_table = IndexCache(1024), table()
    first = run_records(rows, route_table, cache)
    first_resp, sends, verdicts = first.resp(), first.sends(), first.verdicts()
    second = Batch(len(rows))
    second.load(rows)
    process_batch(second, route_table, cache, NOW_S)
    assert b"EXPIRE" not in second.resp()
    cache.clear()
    rebuild_index(second, route_table, cache, NOW_S)
    assert second.resp() == first_resp and second.reply_ends() == first.reply_ends()
    assert second.sends() == sends and second.verdicts() == verdicts


def test_an_event_that_was_given_up_meanwhile_is_not_written_again():
    batch = run_records([record(event(id="a")), record(event(id="b"))], table())
    batch.mark_dead(0)
    rebuild_index(batch, table(), IndexCache(16), NOW_S)
    assert {command[1] for command in commands(batch.resp())} == {b"events:log:b", b"logs:info:b"}
    assert batch.reply_ends() == [0, 2]
