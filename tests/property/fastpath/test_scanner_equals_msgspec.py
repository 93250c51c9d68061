"""The scanner takes only what msgspec takes, and finds the same in it: each payload is read in both ways."""

import json
import random

import hypothesis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.events import make
from ingestd._fastpath import STRING_FIELDS, Batch, IndexCache, process_batch, read_plain, stops_of
from tests.conftest import SEED
from tests.property.fastpath.test_decode_never_crashes import mutants
from tests.support import shapes
from tests.support.batches import JSON_VALUES, payloads
from tests.support.fastpath import CORRELATION_HEADERS, NOW_S, compiled, event, record, rule, table

LABEL_RULES = compiled(
    [
        rule("drop", labels={"env": ["prod", "é😀"], "zone": ["a", ""]}),
        rule("copy", ["copies"], services=["", "a", "é😀"], components=["b"]),
        rule("no_store", correlation_ids=["", "a", "é😀"]),
        rule("route", ["elsewhere"], labels={"correlation_id": ["a"]}),
    ]
)[0]
TABLES = [(table(rules), table(rules, scans=False)) for rules in ((), LABEL_RULES)]


def everything(payload: bytes | None, route_table) -> tuple:
    """All that a batch of this payload alone comes to."""
    batch = Batch(1)
    batch.load([record(payload)], CORRELATION_HEADERS)
    process_batch(batch, route_table, IndexCache(16), NOW_S)
    return batch.verdicts(), batch.sends(), batch.resp(), batch.reply_ends()


def assert_both_ways_agree(payload: bytes | None) -> None:
    for scanning, decoding in TABLES:
        assert everything(payload, scanning) == everything(payload, decoding), payload


@hypothesis.seed(SEED)
@settings(max_examples=600)
@given(payload=payloads())
def test_random_events_end_the_same_in_both_ways(payload: bytes | None):
    assert_both_ways_agree(payload)


@hypothesis.seed(SEED)
@settings(max_examples=400)
@given(
    fields=st.dictionaries(
        st.sampled_from(("id", "type", "level", "labels", "metadata", "data", "correlation_id", '"', "é")), JSON_VALUES
    ),
    indent=st.sampled_from((None, 1)),
    ascii_only=st.booleans(),
)
def test_values_of_any_kind_end_the_same_in_both_ways(fields: dict, indent: int | None, ascii_only: bool):
    text = json.dumps(event() | fields, indent=indent, ensure_ascii=ascii_only)
    assert_both_ways_agree(text.encode())


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda shape: shape.name)
def test_every_shape_ends_the_same_in_both_ways(shape: shapes.Shape):
    assert_both_ways_agree(shape.payload)


def test_mutated_events_end_the_same_in_both_ways(seed: int):
    chance = random.Random(seed)
    source = [make(index).payload for index in range(20)]
    source += [json.dumps(event(labels={"env": "prod", "zone": "\u00e9"}, data=[{"a": [1.5e3, None]}])).encode()]
    taken = 0
    for payload in source:
        for mutant in mutants(payload, 100, chance):
            assert_both_ways_agree(mutant)
            taken += read_plain(mutant) is not None
    # Else this test compares msgspec with itself.
    assert taken > 100


@hypothesis.seed(SEED)
@settings(max_examples=600)
@given(data=st.one_of(st.binary(max_size=1024), st.text('"\\\\\x1f\n aé', max_size=500).map(str.encode)))
def test_every_way_of_finding_stops_finds_the_same(data: bytes):
    expected = [place for place, byte in enumerate(data) if byte in b'"\\' or byte < 32], data.isascii()
    ways = {way: stops_of(way, data) for way in ("plain", "sse2", "avx2")}
    assert ways["plain"] == expected
    assert {way for way, found in ways.items() if found not in (None, expected)} == set()


def test_texts_that_cross_windows_end_the_same_in_both_ways():
    """The scanner looks at 1024 bytes at a time: every kind of thing stands across their border once."""
    things = (r"\"", r"\\", r"\u00e9", "é", '":"', "", "x" * 2100, r"\n" * 1100)
    taken = 0
    for thing in things:
        for before in range(940, 1030):
            text = json.dumps(event()).replace("{", '{"message":"' + "m" * before + thing + '",', 1)
            assert_both_ways_agree(text.encode())
            taken += read_plain(text.encode()) is not None
    assert taken > 90 * (len(things) - 2)


def test_what_is_taken_is_what_msgspec_finds(seed: int):
    chance = random.Random(seed)
    struct = msgspec.defstruct("Twelve", [(name, str | None, None) for name in STRING_FIELDS])
    for index in range(300):
        for payload in (make(index).payload, *mutants(make(index).payload, 5, chance)):
            found = read_plain(payload)
            if found is not None and payload.isascii():
                decoded = msgspec.json.decode(payload, type=struct)
                for name in set(STRING_FIELDS) - {"message"}:
                    value = getattr(decoded, name)
                    assert found.get(name) == (None if value is None else value.encode())


def test_the_events_of_the_bench_and_of_go_are_all_taken():
    assert all(read_plain(make(index).payload) is not None for index in range(200))
    html = b'{"id":"1","type":"log","level":"info","message":"a \\u003cb\\u003e \\"c\\"","data":{"n":[-0.5e-3,{}]}}'
    assert read_plain(html) is not None


@pytest.mark.parametrize(
    "payload",
    [
        rb'{"i\u0064":"1","type":"log","level":"info"}',
        rb'{"id":"a\nb","type":"log","level":"info"}',
        rb'{"id":"1","type":"log","level":"info","message":"\ud800"}',
        b'{"id":"1","type":"log","level":"info","data":' + b"[" * 66 + b"]" * 66 + b"}",
        b'{"id":5,"type":"log","level":"info"}',
        b'\xef\xbb\xbf{"id":"1","type":"log","level":"info"}',
        b'{"id":"1","type":"log","level":"info"} ,',
        b'{"id":"1","data":01}',
        b'{"id":"1","data":1.}',
        b'{"id":"1","data":tru}',
        b'{"id":"1",}',
        b'{"id":"1\x1f"}',
        b'{"id":"1"',
        b'{"id":"1',
        b"{",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_msgspec(payload: bytes):
    assert read_plain(payload) is None
