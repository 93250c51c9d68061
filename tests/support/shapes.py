"""Every shape of input that programs may send. Name, bytes, and the fault that it must end with. Data only."""

import gzip
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ingestd.events.vocabulary import Fault
from tests.support.fastpath import EVENT_BYTES_MAX

TEN_STRING_FIELDS = (
    "id",
    "type",
    "level",
    "service",
    "component",
    "message",
    "timestamp",
    "correlation_id",
    "trace_id",
    "span_id",
)
BASE = b'{"id":"e1","type":"log","level":"info"'
LEVELS_MAX = 500  # the event itself is one
LEVELS_OF_NESTING = 100_000


class Shape(NamedTuple):
    name: str
    payload: bytes | None
    fault: Fault = Fault.NONE


def with_tail(tail: bytes) -> bytes:
    return BASE + tail + b"}"


def with_fields(**fields: Any) -> bytes:
    return json.dumps({"id": "e1", "type": "log", "level": "info"} | fields, ensure_ascii=False).encode()


def with_value(name: str, value: bytes) -> bytes:
    return with_tail(b',"%b":%b' % (name.encode(), value))


def of_size(size: int) -> bytes:
    """A good event of exactly this many bytes."""
    head, tail = BASE + b',"message":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


# As encoding/json writes it: keys in the order of the struct, <, > and & escaped, nanoseconds, an offset.
FROM_GO = (
    rb'{"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","type":"error","level":"ERROR","service":"checkout",'
    rb'"component":"cart","message":"a \u003cb\u003e \u0026 c\u2028","timestamp":"2026-11-24T15:21:28.123456789+05:30",'
    rb'"correlation_id":"c-1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7",'
    rb'"labels":{"env":"prod"},"metadata":{"retries":3},"data":null}'
)
GO_ZERO = (
    rb'{"id":"","type":"metric","level":"info","service":"","component":"","message":"",'
    rb'"timestamp":"0001-01-01T00:00:00Z","correlation_id":"","trace_id":"","span_id":"","labels":{},"metadata":null}'
)

GOOD_TIMES = (
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "0000-02-29T00:00:00Z",
    "2024-02-29t12:00:00z",
    "2026-11-24T09:51:28.1+23:59",
    "2026-11-24T09:51:28-00:00",
    "1969-12-31T23:59:59.999Z",
    "2016-12-31T23:59:60Z",
    "2026-11-24T09:51:28.123456789012345678901234567890Z",
    "2000-02-29T00:00:00Z",
)
BAD_TIMES = (
    "",
    "now",
    "1732441888",
    "2026-11-24",
    "2026-11-24T09:51:28",
    "2026-11-24 09:51:28Z",
    "2026-11-24T09:51:28.Z",
    "2026-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-13-10T00:00:00Z",
    "2026-11-00T00:00:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T09:60:00Z",
    "2026-11-24T09:51:61Z",
    "2026-11-24T09:51:28+24:00",
    "2026-11-24T09:51:28+05:60",
    "2026-11-24T09:51:28+0530",
    "2026-11-24T09:51:28Z ",
    " 2026-11-24T09:51:28Z",
    "2026-11-24T09:51:28,5Z",
    "26-11-24T09:51:28Z",
    "2026-11-24T09:51:28ZZ",
    "2026-11-24T09:51:28.5",
    "2026-11-24T09:51Z",
    "+2026-11-24T09:51:28Z",
    "2026-11-24T09:51:28\u22125:00",
    "２０２６-11-24T09:51:28Z",
    "2026-11-24T09:51:28.½Z",
    "10000-01-01T00:00:00Z",
)
NO_JSON_VALUES = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"01",
    b"-",
    b"+1",
    b".5",
    b"1.",
    b"1e",
    b"0x10",
    b"1_000",
    b"tru",
    b"None",
    b"'x'",
    b"[1,]",
    b"[1 2]",
    b'{"a":1,}',
    b'{"a" 1}',
    b"{1:2}",
    b"/* c */1",
    b'"\t"',
    b'"a\nb"',
    b'"\0"',
    rb'"\q"',
    rb'"\u12"',
    rb'"\u12g4"',
    rb'"\x41"',
    b"",
)


def good() -> Iterator[Shape]:
    yield Shape("what Go writes", FROM_GO)
    yield Shape("Go's zero values", GO_ZERO)
    yield Shape("the least there can be", b'{"type":"log","level":"info"}')
    yield Shape("keys in another order", b'{"message":"m","level":"info","data":{},"type":"log","id":"e1"}')
    yield Shape("white space wherever it may be", b' \t\r\n{ "type" :\n"log" ,\t"level":"info"\r\n}\n ')
    for name, ident in (
        ("spaces", "a b  c"),
        ("colons", "a:b::c:"),
        ("braces", "{a}{}"),
        ("line ends", "a\r\nb\n"),
        ("a null character", "a\0b"),
        ("quotes", '"a"\\'),
        ("four-byte characters", "😀ä"),
        ("a RESP command", "*1\r\n$8\r\nFLUSHALL\r\n"),
        ("60,000 bytes", "x" * 60_000),
        ("36 characters", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ):
        yield Shape(f"ids with {name}", with_fields(id=ident, correlation_id=ident, trace_id=ident, span_id=ident))
    yield Shape("a message of 900 KB", with_fields(message="é" * 450_000))
    yield Shape("1,000 labels", with_fields(labels={f"label-{n}": f"value {n}" for n in range(1000)}))
    yield Shape("a key twice: the last counts", with_tail(b',"id":"e2","id":"e3"'))
    yield Shape("labels twice", with_tail(b',"labels":{"a":"1"},"labels":{"a":"2","a":"3"}'))
    yield Shape("unknown fields", with_tail(b',"Type":1,"":[],"tpye":{"type":"x"},"@timestamp":0'))
    yield Shape("an escaped key", with_tail(rb',"\u0069d":"e2","m\u0065ssage":"m"'))
    nullable = [name for name in TEN_STRING_FIELDS if name not in ("type", "level")] + ["labels", "metadata", "data"]
    yield Shape(
        "null wherever it may be",
        b'{"type":"log","level":"info",' + b",".join(b'"%b":null' % name.encode() for name in nullable) + b"}",
    )
    yield Shape("empty maps", with_fields(labels={}, metadata={}, data={}))
    yield Shape("a trace without ids", with_fields(type="trace"))
    yield Shape(
        "values that are not judged",
        with_tail(b',"labels":{"a":1,"b":[true],"c":null},"metadata":{"correlation_id":{"x":[]}},"data":false'),
    )
    yield Shape("a byte order mark inside a string", with_fields(message="\ufeff"))
    yield Shape("a surrogate pair, escaped", with_tail(rb',"id":"\ud83d\ude00","data":"\uD83D\uDE00"'))
    yield Shape("as many levels as may be", with_tail(b',"data":' + arrays_of(LEVELS_MAX - 1)))
    yield Shape("200 levels of nesting", with_tail(b',"data":' + b'[{"a":' * 100 + b"0" + b"}]" * 100))
    yield Shape("just under the size limit", of_size(EVENT_BYTES_MAX - 1))
    yield Shape("at the size limit", of_size(EVENT_BYTES_MAX))
    yield from good_numbers()
    yield from good_times()
    for name in ("log", "metric", "alert", "trace", "health", "error"):
        yield Shape(f"type {name}", with_fields(type=name))
    for name in ("debug", "INFO", "Warning", "wArN", "error", "FATAL", "Critical"):
        yield Shape(f"level {name}", with_fields(level=name))


def good_numbers() -> Iterator[Shape]:
    """Accepted wherever values are not judged, and whatever rules look at."""
    for name, number in (
        ("1e999", b"1e999"),
        ("-1e-999", b"-1e-999"),
        ("of 5,000 digits", b"9" * 5000),
        ("-0", b"-0"),
        ("18446744073709551616", b"18446744073709551616"),
        ("0.1E+2", b"0.1E+2"),
    ):
        for place in (
            b'"data":%b',
            b'"other":[%b]',
            b'"labels":{"env":%b}',
            b'"labels":{"correlation_id":%b}',
            b'"metadata":{"n":%b}',
            b'"metadata":{"correlation_id":%b}',
        ):
            yield Shape(f"the number {name} in {place.decode()}", with_tail(b"," + place % number))


def good_times() -> Iterator[Shape]:
    for time in GOOD_TIMES:
        yield Shape(f"timestamp {time}", with_fields(timestamp=time))
    # A program's clock two hours ahead is no fault of the event: it is for Kafka's timestamp check to see.
    yield Shape("timestamp two hours ahead", with_fields(timestamp="2027-01-15T10:00:00Z"))


def bad() -> Iterator[Shape]:
    yield Shape("a tombstone", None, Fault.TOMBSTONE)
    yield Shape("just over the size limit", of_size(EVENT_BYTES_MAX + 1), Fault.TOO_LARGE)
    yield Shape("three times the size limit", of_size(3 * EVENT_BYTES_MAX), Fault.TOO_LARGE)
    yield Shape("too large comes before all else", b"\xff" * (EVENT_BYTES_MAX + 1), Fault.TOO_LARGE)
    yield from bad_utf8()
    yield from bad_json()
    yield from bad_nesting()
    yield from bad_fields()
    yield from bad_words()
    for time in BAD_TIMES:
        yield Shape(f"timestamp {time!r}", with_fields(timestamp=time), Fault.BAD_TIMESTAMP)


def bad_utf8() -> Iterator[Shape]:
    for name, raw in (
        ("a lone 0xff", b"\xff"),
        ("Latin-1", b"caf\xe9"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong null, as Java writes it", b"\xc0\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("above U+10FFFF", b"\xf4\x90\x80\x80"),
        ("a cut character", b"\xe2\x82"),
        ("a lone tail", b"\x80"),
        ("an overlong euro", b"\xf0\x82\x82\xac"),
        ("after 63 good bytes", b"x" * 63 + b"\xf8"),
    ):
        for place in (b'"data":"%b"', b'"unknown":{"%b":1}', b'"message":"%b"', b'"id":"%b"', b'"labels":{"a":"%b"}'):
            yield Shape(f"{name} in {place.decode()}", with_tail(b"," + place % raw), Fault.INVALID_UTF8)
    yield Shape("gzip", gzip.compress(with_fields(), mtime=0), Fault.INVALID_UTF8)
    yield Shape("UTF-16 with its mark", with_fields().decode().encode("utf-16"), Fault.INVALID_UTF8)
    yield Shape("good JSON, then a bad byte", with_fields() + b"\xfe", Fault.INVALID_UTF8)


def bad_json() -> Iterator[Shape]:
    whole = FROM_GO
    for size in (0, 1, 2, 7, len(whole) // 2, len(whole) - 1):
        yield Shape(f"cut after {size} bytes", whole[:size], Fault.NOT_JSON)
    yield Shape("white space only", b" \n", Fault.NOT_JSON)
    yield Shape("a byte order mark", b"\xef\xbb\xbf" + whole, Fault.NOT_JSON)
    yield Shape("UTF-16 without its mark", with_fields().decode().encode("utf-16-le"), Fault.NOT_JSON)
    yield Shape("a Confluent schema header", b"\0\0\0\0\7" + whole, Fault.NOT_JSON)
    yield Shape("plain text", b"Nov 24 09:51:28 host app[1]: started", Fault.NOT_JSON)
    for name, tail in (
        ("a bracket", b"}"),
        ("a comma", b","),
        ("a second event", whole),
        ("a null byte", b"\0"),
        ("a byte order mark", b"\xef\xbb\xbf"),
    ):
        yield Shape(f"{name} after the event", whole + tail, Fault.NOT_JSON)
    for value in NO_JSON_VALUES:
        for place in (b'"data":%b', b'"labels":{"a":%b}', b'"metadata":{"correlation_id":%b}'):
            yield Shape(f"{value!r} in {place.decode()}", with_tail(b"," + place.replace(b"%b", value)), Fault.NOT_JSON)
    # RFC 8259 allows it and leaves open what it means. The decoder refuses it, wherever it stands.
    for lone in (rb"\ud800", rb"\udc00", rb"\ud83d\ud83d", rb"\ud83d and more"):
        for place in (b'"data":"%b"', b'"message":"%b"', b'"id":"%b"', b'"%b":1'):
            name = f"the lone surrogate {lone.decode()} in {place.decode()}"
            yield Shape(name, with_tail(b"," + place % lone), Fault.NOT_JSON)


def arrays_of(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def bad_nesting() -> Iterator[Shape]:
    arrays = arrays_of(LEVELS_OF_NESTING)
    objects = b'{"a":' * LEVELS_OF_NESTING + b"1" + b"}" * LEVELS_OF_NESTING
    for place in (b'"data":%b', b'"unknown":%b', b'"labels":{"a":%b}', b'"metadata":{"correlation_id":%b}'):
        for name, value in (("arrays", arrays), ("objects", objects)):
            yield Shape(f"100,000 {name} in {place.decode()}", with_tail(b"," + place % value), Fault.TOO_DEEP)
    yield Shape("100,000 arrays, never closed", BASE + b',"data":' + arrays[:LEVELS_OF_NESTING], Fault.TOO_DEEP)
    yield Shape("one level more than may be", with_tail(b',"data":' + arrays_of(LEVELS_MAX)), Fault.TOO_DEEP)
    yield Shape("100,000 arrays and nothing else", arrays, Fault.TOO_DEEP)
    yield Shape("100,000 objects and nothing else", objects, Fault.TOO_DEEP)


def bad_fields() -> Iterator[Shape]:
    for value in (b"null", b"true", b"1", b'"log"', b"[]", b"[" + FROM_GO + b"]"):
        yield Shape(f"{value[:20].decode()} at the top", value, Fault.WRONG_FIELD_TYPE)
    for name in TEN_STRING_FIELDS:
        for value in (b"1", b"1.5", b"true", b"[]", b"{}", b'["x"]'):
            yield Shape(f"{name} is {value.decode()}", with_value(name, value), Fault.WRONG_FIELD_TYPE)
    for name in ("labels", "metadata"):
        for value in (b"1", b"true", b'"env=prod"', b"[]", b'[{"a":"b"}]', b'""'):
            yield Shape(f"{name} is {value.decode()}", with_value(name, value), Fault.WRONG_FIELD_TYPE)
    yield Shape("a wrong type, then a right one", b'{"type":5,"type":"log","level":"info"}', Fault.WRONG_FIELD_TYPE)
    yield Shape("a right type, then a wrong one", b'{"type":"log","type":5,"level":"info"}', Fault.WRONG_FIELD_TYPE)


def bad_words() -> Iterator[Shape]:
    yield Shape("an empty object", b"{}", Fault.UNKNOWN_TYPE)
    yield Shape("no type", b'{"level":"info"}', Fault.UNKNOWN_TYPE)
    yield Shape("no level", b'{"type":"log"}', Fault.UNKNOWN_LEVEL)
    yield Shape("type null", with_fields(type=None), Fault.UNKNOWN_TYPE)
    yield Shape("level null", with_fields(level=None), Fault.UNKNOWN_LEVEL)
    yield Shape("the later null counts", with_tail(b',"type":null'), Fault.UNKNOWN_TYPE)
    for name in ("", "Log", "LOG", "logs", "log ", " log", "metrics", "event", "lo\0", "lög", "warn", "x" * 300):
        yield Shape(f"type {name[:20]!r}", with_fields(type=name), Fault.UNKNOWN_TYPE)
    for name in (
        "",
        "information",
        "inf",
        "info ",
        "trace",
        "err",
        "notice",
        "0",
        "ınfo",
        "ｉnfo",
        "warnıng",
        "\u212ainfo",
        "criticals",
        "in\0o",
        "x" * 300,
    ):
        yield Shape(f"level {name[:20]!r}", with_fields(level=name), Fault.UNKNOWN_LEVEL)


GOOD = tuple(good())
BAD = tuple(bad())
ALL = GOOD + BAD
