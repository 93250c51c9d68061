"""The compiled side and vocabulary.py use the same numbers and words."""

from typing import get_args

from ingestd import client
from ingestd._fastpath import STRING_FIELDS, VOCABULARY
from ingestd.config import keys
from ingestd.config.schema import StorageConfig, TopicsConfig
from ingestd.events import vocabulary
from ingestd.events.vocabulary import TYPED_TOPIC_KEYS, Action, EventType, Fault, Level, PartitionBy, Verdict
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


def test_every_type_has_one_topic_key_and_the_config_knows_the_type_by_the_same_words():
    assert TYPED_TOPIC_KEYS == tuple(kind.topic_key for kind in EventType)
    fields = {field.name: field for field in keys.fields(TopicsConfig)}
    for name, key in zip(vocabulary.TYPE_NAMES, TYPED_TOPIC_KEYS, strict=True):
        assert f"events of type {name} go" in fields[key].key.meaning
    types = {field.name: field for field in keys.fields(StorageConfig)}["types"]
    assert get_args(get_args(types.kind)[0]) == types.default == vocabulary.TYPE_NAMES


def test_the_client_library_has_the_same_types_and_levels():
    assert tuple(client.EventType) == vocabulary.TYPE_NAMES
    assert tuple(client.Level) == vocabulary.LEVEL_NAMES
