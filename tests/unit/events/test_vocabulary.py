"""The compiled side and vocabulary.py use the same numbers and words."""

from ingestd._fastpath import STRING_FIELDS, VOCABULARY
from ingestd.events import vocabulary
from ingestd.events.vocabulary import Action, EventType, Fault, Level, PartitionBy, Verdict
from tests.support import model as twin
from tests.support.fastpath import event, outcome
from tests.support.shapes import TEN_STRING_FIELDS


def test_the_numbers_of_the_fast_path_are_those_of_the_model():
    enums = {
        "types": EventType,
        "levels": Level,
        "actions": Action,
        "partition_by": PartitionBy,
        "verdicts": Verdict,
        "faults": Fault,
    }
    for name, enum in enums.items():
        assert VOCABULARY[name] == {member.name: member.value for member in enum}, name
    assert VOCABULARY.keys() == {*enums, "limits", "flags"}


def test_the_limits_of_the_fast_path_are_those_of_the_model():
    limits = VOCABULARY["limits"]
    assert limits["DEAD_LETTER_TOPIC_INDEX"] == vocabulary.DEAD_LETTER_TOPIC_INDEX
    assert limits["INDEX_TTL_MARGIN_S"] == vocabulary.INDEX_TTL_MARGIN_S
    assert VOCABULARY["flags"] == {"SEND_HEADERS": twin.SEND_HEADERS, "SEND_DEAD": twin.SEND_DEAD}


def test_the_words_of_the_fast_path_are_those_of_the_model():
    for number, name in enumerate(vocabulary.TYPE_NAMES):
        assert EventType[name.upper()] == number
        assert outcome(event(type=name)).commands[0][1] == f"events:{name}:e1".encode()
    for number, name in enumerate(vocabulary.LEVEL_NAMES):
        assert Level[name.upper()] == number
        assert f"logs:{name}:e1" in outcome(event(level=name)).keys
    for alias, name in vocabulary.TYPE_ALIASES.items():
        assert f"events:{name}:e1" in outcome(event(type=alias)).keys
    for alias, name in vocabulary.LEVEL_ALIASES.items():
        assert f"logs:{name}:e1" in outcome(event(level=alias)).keys


def test_ten_fields_must_be_strings():
    assert STRING_FIELDS == TEN_STRING_FIELDS == twin.Event.__struct_fields__[:10]


def test_every_fault_has_a_message_and_a_stage():
    faults = set(Fault) - {Fault.NONE}
    assert set(vocabulary.FAULT_MESSAGES) == set(vocabulary.FAULT_STAGES) == faults
