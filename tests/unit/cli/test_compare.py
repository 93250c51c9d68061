"""What `compare` counts, hashes and misses, with records from a list."""

import json
import random
from collections.abc import Iterator

import pytest
from confluent_kafka import Message

from ingestd.cli.compare import Comparison, Places, Window, chosen_pairs, compare_events, compare_values
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.errors import IngestdError
from ingestd.events import old_topics

WINDOW = Window(1000, 2000, 100)
Row = tuple[bytes | None, str, int, int]  # value, key, offset, timestamp_ms


class Lists:
    """A Reader that gives everything it has of a topic."""

    def __init__(self, **topics: list[Message]) -> None:
        self.topics = topics

    def read(self, topic: str, since_ms: int, until_ms: int | None) -> Iterator[Message]:
        yield from self.topics.get(topic, [])


def message(value: bytes | None, offset: int = 0, time_ms: int = 1500, key: str = "k", headers=None) -> Message:
    return Message(
        topic="t", partition=0, offset=offset, key=key.encode(), value=value, headers=headers, timestamp=(1, time_ms)
    )


def values(old: list[Message], new: list[Message]) -> Comparison:
    pair = Comparison("old", "new")
    compare_values(pair, Lists(old=old, new=new), WINDOW)
    return pair


def test_the_hash_does_not_depend_on_the_order():
    rows = [message(b"%d" % number, number, key=str(number % 3)) for number in range(100)]
    shuffled = random.Random(1).sample(rows, len(rows))
    assert values(rows, shuffled).equal


@pytest.mark.parametrize("new", [[b"a"], [b"a", b"b", b"b"], [b"a", b"c"], [b"a", None]])
def test_a_value_that_is_missing_doubled_or_other_is_a_difference(new: list[bytes | None]):
    pair = values(
        [message(b"a"), message(b"b", key="x")], [message(value, key="kx"[i > 0]) for i, value in enumerate(new)]
    )
    assert not pair.equal and pair.different_keys() == ["x"]


def test_only_the_window_counts():
    assert values([message(b"a", time_ms=1999)], [message(b"a", time_ms=1000), message(b"b", time_ms=2000)]).equal


def old_message(number: int, offset: int) -> Message:
    return message(b' {"symbol": "S%d", "price": %d}\n' % (number % 2, number), offset, key=f"S{number % 2}")


def made_of(old: Message) -> Message:
    ident = f"old-0-{old.offset()}"
    return message(old_topics.convert(old.value(), old_topics.RAW, ident, 1500, "s"), 900 - old.offset(), key="")


def letter(offset: int) -> Message:
    names = {"topic": "old", "partition": "0", "offset": str(offset)}
    return message(b"bad", headers=[(f"__ingestd.errors.{name}", text.encode()) for name, text in names.items()])


def events(old: list[Message], new: list[Message], dead: list[Message]) -> Comparison:
    pair = Comparison("old", "new")
    compare_events(pair, Lists(old=old, new=new, dead=dead), WINDOW, "dead", False)
    return pair


def test_every_old_message_has_its_event_or_its_dead_letter():
    old = [old_message(number, number) for number in range(10)]
    new = [made_of(each) for each in old if each.offset() != 7]
    others = [
        message(b'{"id":"x","labels":{"a":1}}'),
        message(b"\xff"),
        message(None),
        made_of(message(old[0].value(), 77)),
    ]
    pair = events(old, [*reversed(new), *others, new[0]], [letter(7), message(b"another")])
    assert pair.equal and (pair.old.count, pair.dead_letters, pair.copies, pair.different_keys()) == (9, 1, 1, [])
    assert pair.old.keys == pair.new.keys


def test_a_missing_event_is_named_by_its_place():
    old = [old_message(number, 100 + number) for number in range(30)]
    pair = events(old, [made_of(each) for each in old[:-2]], [])
    assert not pair.equal and pair.missing == ["old-0-128", "old-0-129"] and pair.different_keys() == ["S0", "S1"]


def test_an_event_with_other_bytes_is_a_difference():
    old = [old_message(1, 1)]
    changed = json.loads(made_of(old[0]).value())
    changed["data"]["price"] = 2
    pair = events(old, [message(json.dumps(changed).encode())], [])
    assert not pair.equal and pair.missing_count == 0


def test_places_remember_each_once_in_any_order():
    places = Places()
    offsets = random.Random(2).sample(range(3, 5000), 700)
    assert all(places.add(1, offset) for offset in offsets) and places.add(0, 8)
    assert not any(places.add(1, offset) for offset in offsets)
    assert list(places) == [(0, 8), *((1, offset) for offset in sorted(offsets))]
    assert all(places.has(1, n) == (n in set(offsets)) for n in range(6000)) and not places.has(2, 8)


def test_the_pairs_are_those_of_the_config_or_those_that_are_named():
    config = parse("kafka: {topics: {raw_data: r, processed_data: p, logs: l, alerts: a}}")
    assert [(p.old_topic, p.new_topic, key) for p, key in chosen_pairs(config, ())] == [
        ("r", "l", "raw_data"),
        ("p", "a", "processed_data"),
    ]
    assert [(p.old_topic, p.new_topic, key) for p, key in chosen_pairs(config, ("x=y",))] == [("x", "y", None)]
    with pytest.raises(IngestdError, match="nothing to compare"):
        chosen_pairs(Config(), ())
