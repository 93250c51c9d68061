"""What is wrong with bytes is told by the bytes: no verdict hangs on the class or the words of a library's error."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from ingestd._fastpath import UNREADABLE, Tapped, json_fault
from ingestd.client import compat, events
from ingestd.client.consuming.dead_letters import DeadLetter
from ingestd.client.context import DEFAULT_HEADER_NAMES
from ingestd.client.events import Event, EventType, InvalidEvent, Level
from ingestd.client.producing.record import RecordMaker
from ingestd.events import old_topics
from ingestd.events.old_topics import RAW, NoEvent, convert
from ingestd.events.vocabulary import Fault, Verdict
from ingestd.observers.taps import describe
from tests.support import model, shapes
from tests.support.fastpath import compiled, record, rule, run_records, table

# Each has been, or may become, what a decoder raises for bytes that it cannot read.
ERRORS = (
    msgspec.DecodeError("worded otherwise"),
    msgspec.ValidationError("worded otherwise"),
    msgspec.MsgspecError("worded otherwise"),
    UnicodeDecodeError("utf-8", b"", 0, 0, "worded otherwise"),
    ValueError("worded otherwise"),
)
LABEL_RULES = compiled([rule("drop", labels={"env": ["no"]})])[0]

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def raises_instead(decode: Callable[[Any], Any], error: Exception) -> Callable[[Any], Any]:
    """A decoder that says nothing with its error but that it failed."""

    def decode_or_raise(data: Any) -> Any:
        try:
            return decode(data)
        except UNREADABLE:
            raise error from None

    return decode_or_raise


@each_error
@pytest.mark.parametrize("rules", [(), LABEL_RULES], ids=["no rules", "rules on labels"])
def test_an_event_has_the_same_fault_whatever_its_decoder_raises(
    error: Exception, rules: Any, monkeypatch: pytest.MonkeyPatch
):
    class OtherDecoder:
        def __init__(self, kind: Any) -> None:
            self.decode = raises_instead(real(kind).decode, error)

    real = msgspec.json.Decoder
    monkeypatch.setattr("msgspec.json.Decoder", OtherDecoder)
    route_table = table(rules, scans=False)
    for shape in shapes.ALL:
        batch = run_records([record(shape.payload)], route_table)
        assert batch.verdicts()[0][1] == shape.fault, shape.name


@each_error
@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", Fault.NOT_JSON),
        (b"{", Fault.NOT_JSON),
        (b'{"symbol":1,', Fault.NOT_JSON),
        (b"[]", Fault.WRONG_SHAPE),
        (b'{"symbol":"A","price":"1"}', Fault.WRONG_SHAPE),
        (b'{"symbol":"\xff","price":1}', Fault.INVALID_UTF8),
        (b'{"symbol":"A","price":1,"more":' + b"[" * 501, Fault.TOO_DEEP),
    ],
)
def test_an_old_message_has_the_same_fault_whatever_its_decoder_raises(
    error: Exception, payload: bytes, fault: Fault, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(old_topics._DECODERS, RAW, raises_instead(old_topics._DECODERS[RAW], error))
    with pytest.raises(NoEvent) as caught:
        convert(payload, RAW, "a-0-1", 0, "s")
    assert caught.value.args[0] is fault


@each_error
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"id":"\xff"}', "the value is not valid UTF-8"),
        ('{"id":"\ud800"}', "the value is not valid UTF-8"),
        (memoryview(b"{"), "the value is not valid JSON"),
        (b'{"data":' + b"[" * 5000, "the JSON is nested more than 500 levels deep"),
        (b'{"id":1}', "worded otherwise"),
    ],
)
def test_what_is_no_event_says_why_whatever_its_decoder_raises(
    error: Exception, value: Any, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events, "_DECODE", raises_instead(events._DECODE, error))
    with pytest.raises(InvalidEvent, match=reason):
        Event.from_json(value)


@each_error
@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        (b"k", b"{", "not_json"),
        (b"k", b'"\xff"', "invalid_utf8"),
        (b"\xff", b"1", "invalid_utf8"),
        (b"k", b"[" * 5000, "too_deep"),
        (b"k", b"1e999", "not_json"),
    ],
)
def test_a_record_that_is_no_json_has_the_fault_of_its_bytes(
    error: Exception, key: bytes, value: bytes, fault: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("msgspec.json.decode", raises_instead(msgspec.json.decode, error))
    (letter,) = compat._JsonDecoder().decode([Message("t", 0, 1, key, value)])
    assert isinstance(letter, DeadLetter) and (letter.stage, letter.fault) == ("decode", fault)


@each_error
def test_a_bad_event_is_shown_as_text_whatever_its_decoder_raises(error: Exception, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("msgspec.json.decode", raises_instead(msgspec.json.decode, error))
    tapped = Tapped(b'{"id":"\xff', 0, 0, 1, 2, int(Verdict.DEAD), int(Fault.INVALID_UTF8), [])
    assert describe(tapped, lambda slot: "in", [])["text"] == '{"id":"\ufffd'


@pytest.mark.parametrize("error", [msgspec.EncodeError, msgspec.MsgspecError, TypeError, ValueError, OverflowError])
def test_what_json_cannot_hold_is_an_invalid_event_whatever_its_encoder_raises(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    def encode(value: Any) -> bytes:
        if value is event or value is event.data:
            raise error("worded otherwise")
        return b"{}"

    event = Event(id="e", type=EventType.LOG, level=Level.INFO, service="s", component="", message="", timestamp="")
    event.data = {"a": 1}
    for place in ("ingestd.client.producing.record.encode", "ingestd.client.events._ENCODE"):
        monkeypatch.setattr(place, encode)
    with pytest.raises(InvalidEvent, match="data: can't be written"):
        RecordMaker(DEFAULT_HEADER_NAMES, 1000).value(event)
    with pytest.raises(InvalidEvent, match="can't be written"):
        event.to_json()


@pytest.mark.parametrize("value", [object(), "\ud800", [[]] * 3 + [{1: {object(): 1}}]])
def test_a_value_that_json_cannot_hold_is_a_type_error_of_the_old_interface(value: Any):
    with pytest.raises(TypeError, match="can't be written as JSON"):
        compat._as_json(value)


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda shape: shape.name[:60])
def test_the_fault_of_bytes_is_the_twin_s(shape: shapes.Shape):
    if shape.payload is not None:
        assert json_fault(shape.payload) == model.json_fault(shape.payload)


def test_bytes_that_are_json_of_any_shape_have_no_fault():
    for value in (None, 1, "", [], {}, {"type": 5}):
        assert json_fault(json.dumps(value).encode()) == Fault.NONE
