"""Corrupt input. Whatever bytes come, the result is an event or one dead letter, and the neighbours never notice."""

import json
import random
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.events.vocabulary import DEAD_LETTER_TOPIC_INDEX, Fault, Verdict
from tests.conftest import SEED
from tests.support import shapes
from tests.support.batches import SMALL_SHAPES
from tests.support.fastpath import NOW_S, compiled, event, record, rule, table
from tests.support.resp import commands

NEIGHBOUR = json.dumps(event(id="neighbour", type="metric")).encode()
RULES = compiled([rule("copy", ["copies"], labels={"env": ["prod"]}), rule("sample", rate=0.5, services=["x"])])[0]
TABLES = (table(), table(RULES))
Process = Callable[[Batch, RouteTable, IndexCache, int], None]

# Bytes that mean something to JSON, to UTF-8 or to Redis.
FRAGMENTS = (
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u",
    b"\\ud800",
    b"null",
    b"1e999",
    b"-",
    b"NaN",
    b"\0",
    b"\x1f",
    b"\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xef\xbb\xbf",
    b"\r\n$3\r\n",
    b"/*",
    b"\n",
    b'"type":"trace",',
    b'"labels":{"env":"prod"},',
    b'"id":5,',
    b'"timestamp":"2026-',
    b"[" * 50,
    b'{"a":' * 50,
    b"9" * 400,
)


def flip(payload: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(payload)) if payload else 0
    return payload[:at] + bytes([chance.randrange(256)]) + payload[at + 1 :]


def cut(payload: bytes, chance: random.Random) -> bytes:
    first, last = sorted((chance.randrange(len(payload) + 1), chance.randrange(len(payload) + 1)))
    return chance.choice((payload[:first], payload[last:], payload[:first] + payload[last:]))


def insert(payload: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(payload) + 1)
    return payload[:at] + chance.choice(FRAGMENTS) + payload[at:]


def repeat(payload: bytes, chance: random.Random) -> bytes:
    first, last = sorted((chance.randrange(len(payload) + 1), chance.randrange(len(payload) + 1)))
    return payload[:last] + payload[first:]


def nest(payload: bytes, chance: random.Random) -> bytes:
    depth = chance.choice((1, 2, 100, 30_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"data":', b"}"), (b'{"labels":', b"}")))
    return opening * depth + payload + closing * chance.choice((depth, depth - 1, 0))


MUTATIONS = (flip, flip, cut, insert, insert, repeat, nest)


def check(payload: bytes, route_table: RouteTable, process: Process = process_batch) -> Fault:
    """Process a payload between two good events, and hold everything that must be true of the outcome."""
    batch = Batch(3)
    batch.load([record(NEIGHBOUR, 1), record(payload, 2), record(NEIGHBOUR, 3)])
    process(batch, route_table, IndexCache(16), NOW_S)
    assert [batch.verdicts()[index] for index in (0, 2)] == [(Verdict.ROUTED, Fault.NONE)] * 2
    verdict, fault = batch.verdicts()[1]
    assert (verdict == Verdict.DEAD) == (fault != Fault.NONE)
    sends = [send for send in batch.sends() if send[0] == 1]
    ends, found = batch.reply_ends(), commands(batch.resp())
    written = found[ends[0] : ends[1]]
    if verdict == Verdict.DEAD:
        assert [(send[1], send[2]) for send in sends] == [(DEAD_LETTER_TOPIC_INDEX, None)] and not written
    elif verdict == Verdict.ROUTED:
        assert sends and DEAD_LETTER_TOPIC_INDEX not in [send[1] for send in sends]
        assert {command[2] for command in written if command[0] == b"SET"} == {payload}
        payload.decode("utf-8")
        assert isinstance(json.loads(payload, parse_int=str), dict)
    assert len(found) == ends[2] == ends[1] + ends[0]
    assert [command[2] for command in found[ends[1] :]] == [NEIGHBOUR]
    return Fault(fault)


def mutants(payload: bytes, count: int, chance: random.Random) -> list[bytes]:
    """Each is the payload after one to four mutations."""
    found = []
    for _ in range(count):
        mutant = payload
        for _ in range(chance.randint(1, 4)):
            mutant = chance.choice(MUTATIONS)(mutant, chance)
        found.append(mutant[:500_000])
    return found


@pytest.mark.parametrize("shape", [shapes.FROM_GO, shapes.GO_ZERO, *(s for s in SMALL_SHAPES[::25] if s)])
def test_mutated_events_end_as_events_or_as_dead_letters(shape: bytes, seed: int):
    chance = random.Random(seed)
    for mutant in mutants(shape, 300, chance):
        faults = {check(mutant, route_table) for route_table in TABLES}
        assert len(faults) == 1, f"the rules changed the verdict on {mutant[:300]!r}: {faults}"


def test_mutations_reach_every_fault_that_bytes_can_have(seed: int):
    chance = random.Random(seed)
    found = {check(mutant, TABLES[0]) for mutant in mutants(shapes.FROM_GO, 3000, chance)}
    assert found >= {
        Fault.NONE,
        Fault.INVALID_UTF8,
        Fault.NOT_JSON,
        Fault.TOO_DEEP,
        Fault.WRONG_FIELD_TYPE,
        Fault.UNKNOWN_TYPE,
        Fault.UNKNOWN_LEVEL,
        Fault.BAD_TIMESTAMP,
    }


def test_an_event_cut_at_any_byte_is_a_dead_letter():
    for size in range(len(shapes.FROM_GO)):
        assert check(shapes.FROM_GO[:size], TABLES[1]) is Fault.NOT_JSON


def test_an_event_with_any_byte_replaced_by_a_bad_one_is_a_dead_letter():
    for at in range(len(shapes.FROM_GO)):
        assert check(shapes.FROM_GO[:at] + b"\xff" + shapes.FROM_GO[at + 1 :], TABLES[1]) is Fault.INVALID_UTF8


@hypothesis.seed(SEED)
@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_judged(payload: bytes):
    check(payload, TABLES[1])


@hypothesis.seed(SEED)
@settings(max_examples=500)
@given(st.binary(max_size=80))
def test_utf8_is_judged_as_python_judges_it(raw: bytes):
    inside = shapes.with_tail(b',"data":"' + raw.replace(b'"', b"").replace(b"\\", b"") + b'"')
    try:
        inside.decode("utf-8")
        is_text = True
    except UnicodeDecodeError:
        is_text = False
    assert (check(inside, TABLES[0]) is not Fault.INVALID_UTF8) is is_text


# Canaries: each breaks the fast path in one way, and the check must see it.


def lose_an_exception(batch: Batch, *rest: object) -> None:
    raise ValueError("the decoder's own exception")


class Lying:
    """A batch with one answer changed."""

    def __init__(self, batch: Batch, **answers: object) -> None:
        self._batch, self._answers = batch, answers

    def __getattr__(self, name: str) -> object:
        return (lambda *_: self._answers[name]) if name in self._answers else getattr(self._batch, name)


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        ("verdicts", lambda batch: batch.verdicts()[:2] + [(int(Verdict.DEAD), int(Fault.NOT_JSON))]),
        ("verdicts", lambda batch: [batch.verdicts()[0], (int(Verdict.DEAD), int(Fault.NONE)), batch.verdicts()[2]]),
        ("sends", lambda batch: [send for send in batch.sends() if send[0] != 1]),
        ("resp", lambda batch: batch.resp()[:-1]),
        ("resp", lambda batch: batch.resp().replace(b"checkout", b"checkinn")),
        ("reply_ends", lambda batch: [batch.reply_ends()[0], *batch.reply_ends()[:2]]),
    ],
)
def test_canary_a_wrong_answer_is_seen(name: str, lie: Callable[[Batch], object], monkeypatch: pytest.MonkeyPatch):
    def load_and_lie(events_max: int) -> object:
        batch = real_batch(events_max)
        batch.load([record(NEIGHBOUR, 1), record(shapes.FROM_GO, 2), record(NEIGHBOUR, 3)])
        process_batch(batch, TABLES[0], IndexCache(16), NOW_S)
        return Lying(batch, load=None, **{name: lie(batch)})

    check(shapes.FROM_GO, TABLES[0])
    real_batch = Batch
    monkeypatch.setitem(globals(), "Batch", load_and_lie)
    with pytest.raises((AssertionError, ValueError)):
        check(shapes.FROM_GO, TABLES[0], process=lambda *_: None)


def test_canary_an_exception_is_seen():
    with pytest.raises(ValueError, match="own exception"):
        check(shapes.FROM_GO, TABLES[0], process=lose_an_exception)


def test_canary_a_record_that_is_skipped_is_seen():
    with pytest.raises(AssertionError):
        check(shapes.FROM_GO, TABLES[0], process=lambda *_: None)
