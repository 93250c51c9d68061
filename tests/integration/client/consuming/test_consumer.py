"""The client's Consumer on the mock cluster: an event is committed after its handler, and never before."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ingestd._librdkafka import MockCluster
from ingestd.client import compat
from ingestd.client.consuming.consume_loop import Reject
from ingestd.client.consuming.consumer import Consumer
from ingestd.client.consuming.dead_letters import DeadLetterFailed
from ingestd.client.consuming.filters import EventFilter
from ingestd.client.events import Event
from tests.support import consumer_program
from tests.support.daemon_process import DEAD_LETTER, INPUT
from tests.support.harness import committed, event, publish, read_all
from tests.support.wait import MULTIPLIER, wait_until

PRODUCE, UNKNOWN_TOPIC = 0, 3
# The mock cluster takes a session time-out to let the next member into a group that its last one has left.
SESSION = {"session.timeout.ms": 600, "heartbeat.interval.ms": 100}
QUICK = {"retries": 2, "retry_first_s": 0.01, "retry_max_s": 0.02, "commit_interval_s": 0.1, "kafka_options": SESSION}


class World:
    """A topic of its own in the shared cluster, its group and its dead letters."""

    def __init__(self, cluster: MockCluster, number: int) -> None:
        self.cluster = cluster
        self.topic, self.dead_letter, self.group = f"in-{number}", f"dead-{number}", f"group-{number}"

    def publish(self, payloads: list[bytes], **more) -> None:
        publish(self.cluster, payloads, self.topic, **more)

    def options(self, **options) -> dict:
        return QUICK | {"dead_letter_topic": self.dead_letter} | options

    def consumer(self, group: str = "", **options) -> Consumer:
        return Consumer(self.cluster.bootstraps, self.topic, group or self.group, **self.options(**options))

    def letters(self, count: int) -> list:
        return sorted(read_all(self.cluster, self.dead_letter, count), key=lambda m: int(header(m, "offset")))

    def committed(self) -> int | None:
        """What the group has committed of partition 0, in which all of `publish` lies."""
        return committed(self.cluster, self.topic, self.group)

    def rest(self) -> list[str]:
        """The ids that another member of the group would still be given. One marker ends the wait."""
        self.publish([event("marker")])
        seen: list[str] = []
        with self.consumer() as later:
            for found in later:
                seen.append(found.id)
                if found.id == "marker":
                    later.stop()
        return seen[:-1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    """One for all: making and ending it takes two seconds."""
    made = MockCluster(1)  # it makes a topic when somebody asks for it
    yield made
    made.close()


@pytest.fixture
def world(cluster: MockCluster, numbers: Iterator[int]) -> World:
    return World(cluster, next(numbers))


def header(letter, name: str) -> str:
    return dict(letter.headers())[f"__ingestd.errors.{name}"].decode()


def test_every_event_is_handled_once_in_order_and_committed(world: World):
    world.publish([event(f"e{number}") for number in range(1000)])
    seen: list[Event] = []
    with world.consumer() as first:

        def handle(found: Event) -> None:
            seen.append(found)
            if len(seen) == 600:
                first.stop()

        first.consume_events(handle)
    assert [found.id for found in seen] == [f"e{number}" for number in range(600)]
    assert world.committed() == 600
    assert world.rest() == [f"e{number}" for number in range(600, 1000)]


def test_a_handler_that_fails_is_called_again_and_then_the_event_is_a_dead_letter(world: World):
    world.publish([event("good"), event("never"), event("once"), event("refused")], headers={"a": b"1"}, key="k")
    calls: list[str] = []
    with world.consumer() as first:

        def handle(found: Event) -> None:
            calls.append(found.id)
            if found.id == "never":
                raise ValueError("it is broken")
            if found.id == "once" and calls.count("once") == 1:
                raise KeyError("x")
            if found.id == "refused":
                first.stop()
                raise Reject("not for us")

        first.consume_events(handle)
    assert calls == ["good", "never", "never", "never", "once", "once", "refused"]
    letters = world.letters(2)
    assert [letter.value() for letter in letters] == [event("never"), event("refused")]
    assert [(header(m, "class"), header(m, "message")) for m in letters] == [
        ("ValueError", "it is broken"),
        ("Reject", "not for us"),
    ]
    assert [header(m, "offset") for m in letters] == ["1", "3"]
    for letter in letters:
        assert header(letter, "topic") == world.topic and header(letter, "stage") == "handle"
        assert letter.key() == b"k" and dict(letter.headers())["a"] == b"1"
    assert world.committed() == 4


def test_a_bad_event_is_a_dead_letter_and_stops_nothing(world: World):
    bad = [b"\xff", b"no json", b'{"type":"log"}', b'{"type":"log","level":"info","data":1e999}']
    world.publish([event("a"), *bad, event("b")])
    seen: list[str] = []
    with world.consumer() as first:
        for found in first:
            seen.append(found.id)
            if found.id == "b":
                first.stop()
    assert seen == ["a", "b"]
    letters = world.letters(len(bad))
    assert [letter.value() for letter in letters] == bad
    assert [header(m, "class") for m in letters] == ["invalid_utf8", "not_json", "unknown_level", "invalid_event"]
    assert world.committed() == 2 + len(bad)


def test_nothing_is_committed_while_its_dead_letter_is_not_acknowledged(world: World):
    world.publish([event("a"), event("bad"), event("b")])
    world.cluster.push_errors(PRODUCE, [UNKNOWN_TOPIC] * 60)

    def handle(found: Event) -> None:
        if found.id == "bad":
            raise ValueError

    with world.consumer(dead_letter_timeout_s=0.3) as first, pytest.raises(DeadLetterFailed):
        first.consume_events(handle)
    world.cluster.clear_errors(PRODUCE)
    assert world.committed() == 1


def test_the_shortcuts_take_what_they_name(world: World):
    types = ("log", "metric", "alert", "trace", "health")
    for kind in types:
        world.publish([event(kind, type=kind, service=f"s-{kind}", component=f"c-{kind}", correlation_id=kind)])
    world.publish([event("severe", level="FATAL"), event("bad", level="error", type="metric")])
    world.publish([event("headed", correlation_id=None)], headers={"X-Correlation-ID": b"from a header"})
    world.publish([json.dumps({"type": "log", "level": "info", "metadata": {"correlation_id": "m"}}).encode()])
    calls = {
        "logs": (lambda each, take: each.consume_logs(take), ["log", "severe", "headed", f"{world.topic}-0-8"]),
        "metrics": (lambda each, take: each.consume_metrics(take), ["metric", "bad"]),
        "alerts": (lambda each, take: each.consume_alerts(take), ["alert"]),
        "traces": (lambda each, take: each.consume_traces(take), ["trace"]),
        "health": (lambda each, take: each.consume_health(take), ["health"]),
        "errors": (lambda each, take: each.consume_errors(take), ["severe", "bad"]),
        "service": (lambda each, take: each.consume_by_service(take, "s-log", "s-trace"), ["log", "trace"]),
        "component": (lambda each, take: each.consume_by_component(take, "c-alert"), ["alert"]),
        "ids": (
            lambda each, take: each.consume_by_correlation_id(take, "trace", "from a header", "m"),
            ["trace", "headed", f"{world.topic}-0-8"],
        ),
        "filter": (
            lambda each, take: each.consume_with_filter(take, EventFilter(types="metric", levels="info")),
            ["metric"],
        ),
    }
    found: dict[str, list[Event]] = {group: [] for group in calls}

    def run(group: str) -> None:
        with world.consumer(group, idle_stop_s=2) as each:
            calls[group][0](each, found[group].append)

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(run, calls))
    for group, (_, wanted) in calls.items():
        assert [each.id for each in found[group]] == wanted, group
    assert [each.correlation_id for each in found["ids"]] == ["trace", "from a header", "m"]
    with world.consumer("none") as each, pytest.raises(ValueError, match="at least one service"):
        each.consume_by_service(print)


def test_what_was_not_gone_on_from_comes_again(world: World):
    world.publish([event(f"e{number}") for number in range(10)])
    with world.consumer() as first:
        for found in first:
            if found.id == "e3":
                break
        # The same consumer offers it again, and so does the next one when this one gave up over it.
        with pytest.raises(RuntimeError):
            for found in first.events(EventFilter(types="log")):
                if found.id == "e5":
                    raise RuntimeError("the body failed")
    assert world.rest() == [f"e{number}" for number in range(5, 10)]


def test_stop_from_another_thread_ends_a_wait_and_a_back_off(world: World):
    world.publish([event("e")])

    def fail(found: Event) -> None:
        failing.set()
        raise ValueError

    for handler in (fail, None):
        failing = threading.Event()
        with world.consumer(retry_first_s=30, retry_max_s=30) as first:
            if handler is None:
                failing.set()
            timer = threading.Thread(target=lambda event=failing, each=first: (event.wait(20), each.stop()))
            timer.start()
            begun_s = time.monotonic()
            first.consume_events(handler or (lambda found: None))
            assert time.monotonic() - begun_s < 10 * MULTIPLIER
            timer.join()
    assert world.committed() is None


def test_close_is_bounded_when_the_brokers_are_gone(world: World):
    world.publish([event("e")])
    first = world.consumer(close_timeout_s=1)
    assert next(iter(first)).id == "e"
    world.cluster.broker_down()
    begun_s = time.monotonic()
    first.close()
    first.close()
    assert time.monotonic() - begun_s < 5 * MULTIPLIER
    world.cluster.broker_up()


@pytest.mark.parametrize(
    ("options", "topic"),
    [
        ({"kafka_options": {"enable.auto.commit": True}}, INPUT),
        ({"kafka_options": {"auto.offset.reset": "latest"}}, INPUT),
        ({"batch_events_max": 0}, INPUT),
        ({}, [INPUT, DEAD_LETTER]),
    ],
)
def test_options_that_would_lose_events_or_go_round_are_refused(options: dict, topic):
    with pytest.raises(ValueError, match=r"may not be set|at least 1|for ever"):
        Consumer("127.0.0.1:1", topic, "g", **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="retrys"):
        Consumer("127.0.0.1:1", INPUT, "g", retrys=1)


def child(world: World, path: Path, hold_at: int = consumer_program.NEVER) -> subprocess.Popen[bytes]:
    return consumer_program.start(world.cluster.bootstraps, world.topic, world.group, path, 600, hold_at)


def test_kills_lose_nothing_and_ctrl_c_ends_cleanly(world: World, tmp_path: Path, seed: int):
    path = tmp_path / "seen"
    path.touch()
    world.publish([event(f"e{number}") for number in range(3000)])
    for goal in (400 + seed % 300, 1200 + seed % 500):
        process = child(world, path, goal + 300)
        wait_until(lambda goal=goal: len(path.read_text().splitlines()) > goal, "it is at work", 20, 0.01)
        process.kill()
        process.communicate()
    process = child(world, path)
    wait_until(lambda: len(set(path.read_text().split())) == 3000, "everything was handled", 20)
    assert b"KeyboardInterrupt" in consumer_program.interrupt(process, 10 * MULTIPLIER)
    lines = path.read_text().split()
    assert set(lines) == {f"e{number}" for number in range(3000)}
    print(f"3000 events, 2 kills, {len(lines) - 3000} handled twice")
    assert world.committed() == 3000


def test_a_second_member_takes_its_share_and_nothing_is_lost(world: World):
    world.cluster.create_topic(world.topic, 4)
    producer = Producer({"bootstrap.servers": world.cluster.bootstraps, "log_level": 0})
    for number in range(3000):
        producer.produce(world.topic, event(f"e{number}"), partition=number % 4)
    assert producer.flush(20) == 0
    shares: list[list[str]] = [[], []]
    members = [world.consumer() for _ in shares]

    def run(index: int) -> None:
        def handle(found: Event) -> None:
            time.sleep(0.001)
            shares[index].append(found.id)

        members[index].consume_events(handle)
        members[index].close()

    with ThreadPoolExecutor(2) as pool:
        ended = [pool.submit(run, 0)]
        wait_until(lambda: len(shares[0]) > 100, "the first is at work", 20)
        ended.append(pool.submit(run, 1))
        wait_until(lambda: len({*shares[0], *shares[1]}) == 3000, "all were handled", 30)
        for member in members:
            member.stop()
        for each in ended:
            each.result(20)
    assert shares[0] and shares[1]


def test_the_old_interface_carries_any_json(world: World):
    values = [{"symbol": "BTC", "price": 1.5}, [1, None], "text", 7, None]
    world.cluster.create_topic(world.topic, 1)
    with compat.Producer(world.cluster.bootstraps, world.topic) as producer:
        for number, value in enumerate(values):
            producer.publish(f"k{number}", value)
        producer.publish(None, b"no json")
        producer.publish("raw", b' {"a": 1} ')
        with pytest.raises(TypeError):
            producer.publish("k", object())
    seen: list = []
    with compat.Consumer(world.cluster.bootstraps, world.topic, world.group, **world.options()) as reader:

        def handle(key: str | None, value: object) -> None:
            seen.append((key, value))
            if key == "raw":
                reader.stop()

        reader.consume(handle)
    assert seen == [*((f"k{number}", value) for number, value in enumerate(values)), ("raw", {"a": 1})]
    (letter,) = world.letters(1)
    assert letter.value() == b"no json" and header(letter, "class") == "not_json"


def test_a_message_that_kafka_does_not_take_raises(world: World):
    world.cluster.broker_down()
    with (
        compat.Producer(world.cluster.bootstraps, world.topic, timeout_s=0.5) as producer,
        pytest.raises(compat.PublishFailed),
    ):
        producer.publish("k", 1)
    world.cluster.broker_up()
