"""The exact bytes of every command that the fast path writes."""

import pytest

from ingestd._fastpath import IndexCache
from tests.support.fastpath import NOW_S, event, record, run_records, table
from tests.support.resp import commands, named


def resp_of(value: dict | bytes, cache: IndexCache | None = None, **settings: object) -> bytes:
    return run_records([record(value)], table(**settings), cache).resp()


def only_events(value: dict | bytes, **settings: object) -> bytes:
    """The bytes of an event of the one type that has one key and no class key."""
    return resp_of(value, index_correlation=False, index_trace=False, **settings)


def test_set_with_its_seconds():
    value = b'{"type":"metric","level":"info","id":"m1"}'
    assert only_events(value) == (
        b"*5\r\n$3\r\nSET\r\n$16\r\nevents:metric:m1\r\n$42\r\n" + value + b"\r\n$2\r\nEX\r\n$5\r\n86400\r\n"
    )


def test_an_events_commands_stand_one_behind_the_other():
    value = (
        b'{"type":"log","level":"ERROR","id":"a","correlation_id":"c","trace_id":"t",'
        b'"timestamp":"2026-11-24T09:51:28.123Z"}'
    )
    size = b"%d" % len(value)
    assert resp_of(value, index_members_max=1) == (
        b"*5\r\n$3\r\nSET\r\n$12\r\nevents:log:a\r\n$" + size + b"\r\n" + value + b"\r\n$2\r\nEX\r\n$5\r\n86400\r\n"
        b"*5\r\n$3\r\nSET\r\n$12\r\nlogs:error:a\r\n$" + size + b"\r\n" + value + b"\r\n$2\r\nEX\r\n$6\r\n604800\r\n"
        b"*4\r\n$4\r\nZADD\r\n$19\r\ncorrelation_index:c\r\n$13\r\n1795513888123\r\n$12\r\nlogs:error:a\r\n"
        b"*3\r\n$6\r\nEXPIRE\r\n$19\r\ncorrelation_index:c\r\n$6\r\n608400\r\n"
        b"*4\r\n$15\r\nZREMRANGEBYRANK\r\n$19\r\ncorrelation_index:c\r\n$1\r\n0\r\n$2\r\n-2\r\n"
        b"*4\r\n$4\r\nZADD\r\n$13\r\ntrace_index:t\r\n$13\r\n1795513888123\r\n$12\r\nlogs:error:a\r\n"
        b"*3\r\n$6\r\nEXPIRE\r\n$13\r\ntrace_index:t\r\n$6\r\n608400\r\n"
        b"*4\r\n$15\r\nZREMRANGEBYRANK\r\n$13\r\ntrace_index:t\r\n$1\r\n0\r\n$2\r\n-2\r\n"
    )


def test_zadd_of_a_trace_names_its_two_members():
    value = b'{"type":"trace","level":"info","id":"a","trace_id":"t","span_id":"s","timestamp":"1970-01-01T00:00:01Z"}'
    found = resp_of(value)
    assert found[found.index(b"*6") : found.index(b"*3")] == (
        b"*6\r\n$4\r\nZADD\r\n$13\r\ntrace_index:t\r\n"
        b"$4\r\n1000\r\n$10\r\ntraces:t:s\r\n$4\r\n1000\r\n$14\r\nevents:trace:a\r\n"
    )
    assert named(commands(found), b"SET")[1][1] == b"traces:t:s"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (
            "unknown",
            b"*4\r\n$6\r\nEXPIRE\r\n$13\r\ntrace_index:t\r\n$5\r\n90000\r\n$2\r\nNX\r\n"
            b"*4\r\n$6\r\nEXPIRE\r\n$13\r\ntrace_index:t\r\n$5\r\n90000\r\n$2\r\nGT\r\n",
        ),
        ("longest", b"*3\r\n$6\r\nEXPIRE\r\n$13\r\ntrace_index:t\r\n$7\r\n7779600\r\n"),
    ],
)
def test_expire_with_its_condition(condition: str, expected: bytes):
    cache = IndexCache(16)
    cache.compares_ttls = True
    value = event(trace_id="t", type="alert" if condition == "longest" else "metric")
    found = resp_of(value, cache)
    assert found.endswith(expected) and found.count(b"EXPIRE") == expected.count(b"EXPIRE")


@pytest.mark.parametrize("size", [98, 99, 100, 101, 999, 1000, 9999, 10_000, 99_999, 100_000])
def test_the_length_of_a_value_is_written_in_as_many_digits_as_it_has(size: int):
    value = b'{"type":"metric","level":"info","message":"' + b"x" * (size - 45) + b'"}'
    assert len(value) == size
    assert only_events(value).endswith(b"\r\n$%d\r\n" % size + value + b"\r\n$2\r\nEX\r\n$5\r\n86400\r\n")


@pytest.mark.parametrize("size", [15, 99, 100, 999, 1000, 1001, 10_000])
def test_the_length_of_a_key_is_written_in_as_many_digits_as_it_has(size: int):
    ident = "i" * (size - len("events:metric:"))
    assert only_events(event(type="metric", id=ident)).startswith(
        b"*5\r\n$3\r\nSET\r\n$%d\r\nevents:metric:" % size + ident.encode() + b"\r\n$"
    )


@pytest.mark.parametrize(("trace", "span"), [("t", "s"), ("t" * 5, "s"), ("t" * 40, "s" * 50), ("t" * 41, "s" * 50)])
def test_the_length_of_a_key_of_two_parts_counts_its_colon(trace: str, span: str):
    key = f"traces:{trace}:{span}".encode()
    found = only_events(event(type="trace", trace_id=trace, span_id=span))
    assert b"SET\r\n$%d\r\n%b\r\n" % (len(key), key) in found


@pytest.mark.parametrize("ttl_s", [1, 9, 10, 99, 100, 1000, 999_999_999, 1_000_000_000, 4_000_000_000])
def test_seconds_of_any_length(ttl_s: int):
    digits = b"%d" % ttl_s
    assert only_events(event(type="metric"), events_ttl_s=ttl_s).endswith(
        b"\r\n$2\r\nEX\r\n$%d\r\n%b\r\n" % (len(digits), digits)
    )


@pytest.mark.parametrize(
    ("time", "score"),
    [
        ("1970-01-01T00:00:00Z", b"0"),
        ("1970-01-01T00:00:00.009Z", b"9"),
        ("1970-01-01T00:00:00.010Z", b"10"),
        ("1970-01-12T13:46:39.999Z", b"999999999"),
        ("1970-01-12T13:46:40Z", b"1000000000"),
        ("1969-12-31T23:59:59.999Z", b"-1"),
        ("9999-12-31T23:59:59.9999Z", b"253402300799999"),
        ("0000-01-01T00:00:00Z", b"-62167219200000"),
    ],
)
def test_scores_of_any_length(time: str, score: bytes):
    found = resp_of(event(type="metric", correlation_id="c", timestamp=time))
    score_word = b"$%d\r\n%b\r\n" % (len(score), score)
    assert b"ZADD\r\n$19\r\ncorrelation_index:c\r\n" + score_word + b"$16\r\nevents:metric:e1\r\n" in found


@pytest.mark.parametrize(("members_max", "rank"), [(1, b"-2"), (8, b"-9"), (9, b"-10"), (15, b"-16")])
def test_the_rank_of_a_trim_keeps_the_newest(members_max: int, rank: bytes):
    found = commands(resp_of(event(correlation_id="c"), index_members_max=members_max))
    assert found[-1] == (b"ZREMRANGEBYRANK", b"correlation_index:c", b"0", rank)


def test_key_parts_with_null_bytes_line_ends_and_commands_are_counted_and_not_read():
    ident = "a\0b\r\n*1\r\n$8\r\nFLUSHALL\r\n:"
    found = commands(resp_of(event(id=ident, correlation_id=ident, trace_id=ident)))
    assert [command[1].decode() for command in found] == [
        f"events:log:{ident}",
        f"logs:info:{ident}",
        f"correlation_index:{ident}",
        f"correlation_index:{ident}",
        f"trace_index:{ident}",
        f"trace_index:{ident}",
    ]


def test_a_value_with_line_ends_is_counted_and_not_read():
    value = b'\r\n{"type":"metric",\r\n"level":"info"\r\n}\r\n'
    assert commands(only_events(value))[0][2] == value


def test_lengths_count_bytes_and_not_characters():
    found = only_events(event(type="metric", id="é😀"))
    assert b"$20\r\nevents:metric:\xc3\xa9\xf0\x9f\x98\x80\r\n" in found


def test_an_empty_span_makes_no_key_of_an_empty_part():
    found = commands(resp_of(event(type="trace", trace_id="t", span_id="")))
    assert [command[1] for command in found] == [b"events:trace:e1", b"trace_index:t", b"trace_index:t"]


def test_an_empty_id_is_replaced_by_the_records_place():
    assert commands(only_events(event(type="metric", id="")))[0][1] == b"events:metric:in-3-7"


def test_a_place_of_the_largest_numbers_fits():
    row = record(b'{"type":"metric","level":"info"}', offset=2**63 - 1, topic="t" * 249, partition=2**31 - 1)
    batch = run_records([row], table())
    assert commands(batch.resp())[0][1] == b"events:metric:" + b"t" * 249 + b"-2147483647-9223372036854775807"


def test_commands_of_many_events_are_whole_and_in_order():
    rows = [record(event(id=f"i{n}", correlation_id="c" * (n % 7), message="m" * n), n) for n in range(500)]
    batch = run_records(rows, table(), now_s=NOW_S)
    found = commands(batch.resp())
    assert [command[1] for command in found if command[1].startswith(b"events:")] == [
        b"events:log:i%d" % n for n in range(500)
    ]
    assert batch.reply_count == batch.reply_ends()[-1] == len(found)
    for reply_index in range(len(found)):
        record_index = batch.record_of_reply(reply_index)
        assert record_index == sum(1 for end in batch.reply_ends() if end <= reply_index)
