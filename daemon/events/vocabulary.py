"""The vocabulary of events: types, levels, classes of dead letters, and the numbers that the fast path has for them.

The numbers are shared with the compiled fast path: a test holds `_fastpath.VOCABULARY` equal to these tables.
"""

from enum import IntEnum
from typing import Final


class EventType(IntEnum):
    """The types of event: number, which is also the index of the type's topic in `OutputTopics`, and the key of that
    topic in kafka.topics. The name in lower case is the event's `type`."""

    topic_key: str

    LOG = 0, "logs"
    METRIC = 1, "metrics"
    ALERT = 2, "alerts"
    TRACE = 3, "traces"
    HEALTH = 4, "health_checks"

    def __new__(cls, number: int, topic_key: str) -> "EventType":
        member = int.__new__(cls, number)
        member._value_ = number
        member.topic_key = topic_key
        return member


class Level(IntEnum):
    """The levels of an event. The name in lower case is the event's `level`."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3
    FATAL = 4


TYPE_NAMES: Final = tuple(kind.name.lower() for kind in EventType)
TYPED_TOPIC_KEYS: Final = tuple(kind.topic_key for kind in EventType)
TYPE_ALIASES: Final = {"error": "log"}
LEVEL_NAMES: Final = tuple(level.name.lower() for level in Level)
LEVEL_ALIASES: Final = {"warn": "warning", "critical": "fatal"}

# Index of the dead-letter topic in the table of output topics: right behind the typed topics.
# See rules.OutputTopics for what follows.
DEAD_LETTER_TOPIC_INDEX: Final = len(EventType)


class Action(IntEnum):
    """What a rule does with an event that it matches. The first three end the walk through the rules."""

    DROP = 0
    KEEP = 1
    ROUTE = 2
    COPY = 3
    SAMPLE = 4
    NO_STORE = 5


class PartitionBy(IntEnum):
    """Which field becomes the key of the typed record."""

    TRACE = 0
    CORRELATION = 1
    NONE = 2


class Verdict(IntEnum):
    """How the fast path ended one record."""

    ROUTED = 0
    DROPPED = 1
    DEAD = 2


class Fault(IntEnum):
    """Why an event is bad. The name in lower case is the dead letter's `__ingestd.errors.class`."""

    NONE = 0
    TOMBSTONE = 1
    TOO_LARGE = 2
    INVALID_UTF8 = 3
    NOT_JSON = 4
    TOO_DEEP = 5
    WRONG_FIELD_TYPE = 6
    UNKNOWN_TYPE = 7
    UNKNOWN_LEVEL = 8
    BAD_TIMESTAMP = 9
    REJECTED_BY_KAFKA = 10
    REJECTED_BY_REDIS = 11
    WRONG_SHAPE = 12


FAULT_MESSAGES: Final = {
    Fault.TOMBSTONE: "the record has no value",
    Fault.TOO_LARGE: "the value is larger than pipeline.event_bytes_max",
    Fault.INVALID_UTF8: "the value is not valid UTF-8",
    Fault.NOT_JSON: "the value is not valid JSON",
    Fault.TOO_DEEP: "the JSON is nested more than 500 levels deep",
    Fault.WRONG_FIELD_TYPE: "the value is no JSON object, or a field has the wrong JSON type",
    Fault.UNKNOWN_TYPE: f"type is missing or none of {', '.join((*TYPE_NAMES, *TYPE_ALIASES))}",
    Fault.UNKNOWN_LEVEL: f"level is missing or none of {', '.join((*LEVEL_NAMES, *LEVEL_ALIASES))}",
    Fault.BAD_TIMESTAMP: "timestamp is not RFC 3339",
    Fault.REJECTED_BY_KAFKA: "Kafka refused the record for good",
    Fault.REJECTED_BY_REDIS: "Redis refused a command of the event for good",
    Fault.WRONG_SHAPE: "the message of an old topic has not the shape that the topic's messages have",
}

# The stage at which each fault is found: the dead letter's `__ingestd.errors.stage`.
FAULT_STAGES: Final = {
    fault: "produce" if fault is Fault.REJECTED_BY_KAFKA else "index" if fault is Fault.REJECTED_BY_REDIS else "decode"
    for fault in FAULT_MESSAGES
}

DEAD_LETTER_HEADER_PREFIX: Final = "__ingestd.errors."
# Index keys outlive the last of their members by this much, so that a look-up never finds a member without its index.
INDEX_TTL_MARGIN_S: Final = 3600
