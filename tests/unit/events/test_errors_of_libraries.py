"""What is wrong with bytes is told by the bytes: no verdict hangs on the class or the words of a library's error."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ingestd._fastpath import UNREADABLE, json_fault
from ingestd.events import old_topics
from ingestd.events.old_topics import RAW, NoEvent, convert
from ingestd.events.vocabulary import Fault
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


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda shape: shape.name[:60])
def test_the_fault_of_bytes_is_the_twin_s(shape: shapes.Shape):
    if shape.payload is not None:
        assert json_fault(shape.payload) == model.json_fault(shape.payload)


def test_bytes_that_are_json_of_any_shape_have_no_fault():
    for value in (None, 1, "", [], {}, {"type": 5}):
        assert json_fault(json.dumps(value).encode()) == Fault.NONE
