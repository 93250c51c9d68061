"""The client's Consumer on real Apache Kafka: at least once across kills, commits, dead letters, shares of a group."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import ConsumerGroupState, Producer

from ingestd.client.consuming.consume_loop import Reject
from ingestd.client.consuming.consumer import Consumer
from ingestd.client.events import Event
from tests.support import consumer_program
from tests.support.harness import event
from tests.support.kafka_node import KafkaNode
from tests.support.wait import MULTIPLIER, wait_until

pytestmark = pytest.mark.real
SESSION_MS = 1000  # the least that the broker takes; it is how long a killed member keeps its partitions
SESSION = {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 100}


class World:
    """Topics and a group of its own on the shared broker."""

    def __init__(self, kafka: KafkaNode, number: int, partitions: int) -> None:
        self.kafka, self.partitions = kafka, partitions
        self.topic, self.dead_letter, self.group = f"client-{number}", f"client-dead-{number}", f"client-group-{number}"
        kafka.create_topics([self.topic], partitions)
        kafka.create_topics([self.dead_letter], 1)

    def publish(self, wave: str, count: int) -> list[str]:
        """`count` events, dealt to the partitions; their ids are `wave-partition-number`."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        ids = [f"{wave}-{number % self.partitions}-{number}" for number in range(count)]
        for number, ident in enumerate(ids):
            producer.produce(self.topic, event(ident), key="k", partition=number % self.partitions)
        assert producer.flush(20) == 0
        return ids

    def consumer(self, **options: Any) -> Consumer:
        quick = {"commit_interval_s": 0.05, "dead_letter_topic": self.dead_letter, "kafka_options": SESSION}
        return Consumer(self.kafka.bootstrap, self.topic, self.group, **(quick | options))

    def committed(self) -> dict[int, int]:
        return self.kafka.committed(self.group, self.topic)

    def all_is_committed(self) -> bool:
        return self.committed() == self.kafka.ends(self.topic)

    def shares(self) -> list[int]:
        """How many partitions each member has, when the group is balanced."""
        admin = self.kafka.admin  # kept: its futures die with it
        found = admin.describe_consumer_groups([self.group])[self.group].result(20)
        if found.state != ConsumerGroupState.STABLE:
            return []
        return sorted(len(member.assignment.topic_partitions) for member in found.members)

    def letters(self, count: int) -> list[Any]:
        reader = KafkaConsumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": "letters", "auto.offset.reset": "earliest"}
        )
        reader.subscribe([self.dead_letter])
        try:
            found: list[Any] = []

            def read() -> bool:
                found.extend(message for message in reader.consume(count, 0.5) if message.error() is None)
                return len(found) >= count

            wait_until(read, f"{count} dead letters", 30)
            return found
        finally:
            reader.close()


@pytest.fixture
def world(kafka: KafkaNode, numbers: Iterator[int]) -> World:
    return World(kafka, next(numbers), 1)


@pytest.fixture
def wide(kafka: KafkaNode, numbers: Iterator[int]) -> World:
    return World(kafka, next(numbers), 4)


def test_kill_9_of_a_consumer_loses_nothing_and_doubles_only_what_was_not_committed(
    wide: World, tmp_path: Path, seed: int
):
    path = tmp_path / "handled"
    path.touch()
    ids = wide.publish("e", 4000)
    kills = (300 + seed % 700, 1500 + seed % 900)
    for goal in kills:
        process = consumer_program.start(wide.kafka.bootstrap, wide.topic, wide.group, path, SESSION_MS, goal + 300)
        wait_until(lambda goal=goal: len(path.read_text().splitlines()) > goal, "it is at work", 30, 0.01)
        process.kill()
        process.communicate()
        assert not wide.all_is_committed(), "it was killed in mid-flow"
    process = consumer_program.start(wide.kafka.bootstrap, wide.topic, wide.group, path, SESSION_MS)
    try:
        wait_until(wide.all_is_committed, "all is committed", 30)
        # Asked when all is committed: what is missing now would never come.
        handled = Counter(path.read_text().split())
        assert set(handled) == set(ids)
        assert b"KeyboardInterrupt" in consumer_program.interrupt(process, 20 * MULTIPLIER)
    finally:
        process.kill()
        process.communicate()
    doubled = handled.total() - len(ids)
    assert doubled < kills[1], "it does not begin again"
    print(f"{len(ids)} events, {len(kills)} kills, {doubled} handled twice, none missing")


def test_an_event_is_committed_after_its_handler_and_never_before(world: World):
    ids = world.publish("e", 10)
    holding, go_on = threading.Event(), threading.Event()

    def handle(found: Event) -> None:
        if found.id == ids[5]:
            holding.set()
            assert go_on.wait(30)
            raise RuntimeError("not a failure of the event")

    with world.consumer(retry_on=(ValueError,)) as first, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(first.consume_events, handle)
        assert holding.wait(30)
        wait_until(lambda: world.committed() == {0: 5}, "what was before it is committed while it is handled", 20)
        go_on.set()
        with pytest.raises(RuntimeError):
            reading.result(20)
    assert world.committed() == {0: 5}, "also after the last commit of the consumer"
    seen: list[str] = []
    with world.consumer(idle_stop_s=20 * MULTIPLIER) as later:
        for found in later:
            seen.append(found.id)
            if found.id == ids[-1]:
                later.stop()
    assert seen == ids[5:]
    assert world.committed() == {0: 10}


def test_a_handler_that_fails_is_called_again_and_then_the_event_is_a_dead_letter(world: World):
    good, never, once, refused, last = world.publish("e", 5)
    calls: list[str] = []

    def handle(found: Event) -> None:
        calls.append(found.id)
        if found.id == never:
            raise ValueError("it is broken")
        if found.id == once and calls.count(once) == 1:
            raise KeyError("x")
        if found.id == refused:
            raise Reject("not for us")
        if found.id == last:
            reader.stop()

    with world.consumer(retries=2, retry_first_s=0.01, retry_max_s=0.02, idle_stop_s=20 * MULTIPLIER) as reader:
        reader.consume_events(handle)
    assert calls == [good, never, never, never, once, once, refused, last]
    letters = world.letters(2)
    assert [letter.value() for letter in letters] == [event(never), event(refused)]
    headers = [{name: value.decode() for name, value in letter.headers()} for letter in letters]
    for found, offset, kind, text in zip(
        headers, "13", ("ValueError", "Reject"), ("it is broken", "not for us"), strict=True
    ):
        assert found["__ingestd.errors.topic"] == world.topic
        assert found["__ingestd.errors.offset"] == offset
        assert found["__ingestd.errors.stage"] == "handle"
        assert (found["__ingestd.errors.class"], found["__ingestd.errors.message"]) == (kind, text)
    assert [letter.key() for letter in letters] == [b"k", b"k"]
    assert world.committed() == {0: 5}, "dead letters do not hold the others back"


def test_two_members_share_the_partitions_and_one_that_leaves_gives_its_own_to_the_other(wide: World):
    seen: list[list[str]] = [[], []]
    members = [wide.consumer() for _ in seen]
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(member.consume_events, lambda found, mine=mine: mine.append(found.id))
            for member, mine in zip(members, seen, strict=True)
        ]
        try:
            wait_until(lambda: wide.shares() == [2, 2], "each member has two of the four", 30)
            both = wide.publish("both", 400)
            wait_until(wide.all_is_committed, "the first wave is committed", 30)
            assert sorted(seen[0] + seen[1]) == sorted(both), "each event once"
            partitions = [{ident.split("-")[1] for ident in mine} for mine in seen]
            assert [len(each) for each in partitions] == [2, 2] and not partitions[0] & partitions[1]

            members[1].stop()
            running[1].result(20)
            at_leaving = wide.publish("leaving", 400)  # while it leaves, and before the other has its partitions
            members[1].close()
            wait_until(lambda: wide.shares() == [4], "the other has all", 30)
            alone = wide.publish("alone", 400)
            wait_until(wide.all_is_committed, "all waves are committed", 30)
        finally:
            for member in members:
                member.close()
    running[0].result(20)
    assert Counter(seen[0] + seen[1]) == Counter(both + at_leaving + alone), "each event once"
    assert set(alone) <= set(seen[0]) and len(seen[1]) == 200
