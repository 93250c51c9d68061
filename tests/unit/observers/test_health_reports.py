"""Health reports: lag figures, and which health events are sent when, of components that answer as each test wants."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ingestd._librdkafka import ErrorCode, PartitionOffset
from ingestd.config.schema import Config, FloodConfig, HealthConfig, PipelineConfig
from ingestd.errors import KafkaFailure
from ingestd.events.vocabulary import EventType
from ingestd.observers import health_reports as probes_module
from ingestd.observers.components import Components
from ingestd.observers.health import HealthReporter, Status
from ingestd.observers.health_reports import HealthReports
from ingestd.observers.record_times import RecordTimes
from ingestd.pipeline.ledger import Key, Ledger, LedgerRun
from ingestd.telemetry.metrics import Books, Counters
from tests.support.fake_consumer import FakeConsumer
from tests.support.harness import LogLines, until

A0, A1 = ("a", 0), ("a", 1)
START_MS = 1_772_366_400_000
COMPONENTS = ["kafka.consumer", "kafka.producer", "redis", "pipeline", "lag"]


class World:
    """HealthReports over a real ledger and real books; `clock_s` is both the loop's and the wall's time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock_s = START_MS / 1000
        monkeypatch.setattr(probes_module, "time", SimpleNamespace(time=lambda: self.clock_s))
        self.consumer = FakeConsumer(a0=(0, 100), a1=(0, 50))
        self.ledger, self.books = Ledger(), Books()
        self.asked: list[Key] = []
        self.cluster_is_silent = False
        self.record_ms: dict[tuple[Key, int], int] = {}  # what a look tells
        self.looked_for: list[dict[Key, int]] = []
        self.sent: list[tuple[int, dict[str, Any]]] = []
        self.source = SimpleNamespace(joined=True, missed=0, committed={}, ask_offsets=self._ask_offsets)
        self.kafka = SimpleNamespace(open_count=0, was_fatal=0, refused_count=0, send_own=self._send_own)
        self.redis = SimpleNamespace(connected=True, waiting_count=0, identity_changes=0)
        self.engine = SimpleNamespace(in_flight_events=0, held_bytes=0, holding_back=False)
        self.config = Config(
            health=HealthConfig(interval_s=10, lag_warning_records=100, lag_warning_s=60),
            pipeline=PipelineConfig(dead_letter=FloodConfig(window_s=60, min_events=100)),
        )
        self.lines = LogLines()
        log = logging.getLogger("test.health_reports")
        log.handlers[:], log.propagate = [self.lines], False
        log.setLevel(logging.DEBUG)
        components = Components(self.source, self.kafka, self.redis, self.engine, self.ledger, self.books, Counters())
        times = RecordTimes(self, lambda: self.clock_s)
        reporter = HealthReporter(self.config.health, "service", "host", "", "0")
        self.health_reports = HealthReports(self.config, reporter, components, self.consumer, times, log)
        self.health_reports._loop = SimpleNamespace(time=lambda: self.clock_s)

    # The reader's part

    awake = False

    def times_ms(self, offsets: Mapping[Key, int]) -> dict[Key, int]:
        self.looked_for.append(dict(offsets))
        return {key: self.record_ms[key, offset] for key, offset in offsets.items() if (key, offset) in self.record_ms}

    async def answered(self) -> list[float]:
        """Seconds behind, when what was asked has been answered."""
        self.health_reports.lag()
        await until(lambda: self.health_reports._times._aside is None, "the look ends")
        return [row.seconds for row in self.health_reports.lag()]

    async def _ask_offsets(self, rows: list[tuple[str, int, int]]) -> list[PartitionOffset]:
        self.asked += [row[:2] for row in rows]
        if self.cluster_is_silent:
            raise KafkaFailure(ErrorCode.TIMED_OUT, "_TIMED_OUT", "made by the test")
        return self.consumer.list_offsets(rows, 1)

    def _send_own(self, topic_index: int, value: bytes) -> bool:
        self.sent.append((topic_index, msgspec.json.decode(value)))
        return True

    def open(self, partition: int, first: int, count: int, timestamp_ms: int) -> None:
        self.ledger.open(1, [LedgerRun("a", partition, first, first + count - 1, count, -1, timestamp_ms)])

    def report(self, *, all_of_them: bool = False) -> dict[str, dict[str, Any]]:
        """What one look sends, by component."""
        self.sent.clear()
        self.health_reports._report(all_of_them=all_of_them)
        return {sent["component"]: sent for _, sent in self.sent}


def run(monkeypatch: pytest.MonkeyPatch, work: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work(World(monkeypatch))

    asyncio.run(asyncio.wait_for(whole(), 30))


# Lag


def test_lag_is_from_the_first_unfinished_record_to_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 40)
        world.source.committed[A0] = 30
        world.consumer.watermarks[A0] = 100
        world.open(0, 40, 20, START_MS - 7_000)
        (row,) = world.health_reports.lag()
        assert row.as_dict() == {
            "topic": "a",
            "partition": 0,
            "records": 60,
            "seconds": 7.0,
            "committed": 30,
            "position": 40,
            "high_watermark": 100,
        }
        world.ledger.finish(1)
        assert world.health_reports.lag()[0].records == 40

    run(monkeypatch, work)


def test_a_partition_that_is_worked_off_is_not_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 100)
        world.consumer.watermarks[A0] = 100
        world.clock_s += 3600
        assert [(row.records, row.seconds) for row in world.health_reports.lag()] == [(0, 0.0)]

    run(monkeypatch, work)


def test_no_figure_is_ever_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fetched, nothing committed, a watermark that is behind, a record from the future: each has its -1."""

    async def work(world: World) -> None:
        world.ledger.assign(*A0)
        world.ledger.assign(*A1, 50)
        world.source.committed = {A0: -1, A1: -1}
        assert world.health_reports.lag() == [], "an end that is not known is not reported"
        world.consumer.watermarks = {A0: 10, A1: 30}
        assert [row[:2] for row in world.health_reports.lag()] == [A1], "nor a beginning"
        world.open(1, 50, 5, START_MS + 60_000)
        world.consumer.watermarks[A1] = 55
        for row in world.health_reports.lag():
            assert min(value for value in row if not isinstance(value, str)) >= 0

    run(monkeypatch, work)


def test_what_stands_without_being_taken_grows_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody tells the time of a record that was never taken, it waits at least since it was first seen."""

    async def work(world: World) -> None:
        world.ledger.assign(*A0, 40)
        world.consumer.watermarks[A0] = 41
        assert world.health_reports.lag()[0].seconds == 0.0
        world.clock_s += 30
        world.consumer.watermarks[A0] = 60
        assert world.health_reports.lag()[0].seconds == 30.0
        world.ledger.assign(*A0, 50)  # it moves
        assert world.health_reports.lag()[0].seconds == 0.0
        world.clock_s += 5
        assert world.health_reports.lag()[0].seconds == 5.0
        world.ledger.assign(*A0, 60)
        world.health_reports.lag()
        assert world.health_reports._behind == {}, "nothing is kept of what moved on"

    run(monkeypatch, work)


def test_what_was_never_taken_is_as_old_as_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 40)
        world.ledger.assign(*A1, 50)
        world.consumer.watermarks = {A0: 41, A1: 50}
        world.record_ms[A0, 40] = START_MS - 3_600_000
        assert [row.seconds for row in world.health_reports.lag()] == [0.0, 0.0], "it is answered aside"
        assert await world.answered() == [3600.0, 0.0]
        world.clock_s += 30
        assert await world.answered() == [3630.0, 0.0]
        assert world.looked_for == [{A0: 40}], "once a place, and only of what is behind"

    run(monkeypatch, work)


def test_another_assignment_asks_again_and_what_was_answered_of_the_old_one_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 40)
        world.consumer.watermarks[A0] = 41
        world.record_ms[A0, 40] = START_MS - 3_600_000
        assert await world.answered() == [3600.0]
        world.ledger.revoke(*A0)
        assert world.health_reports.lag() == []
        world.ledger.assign(*A0, 40)
        world.record_ms[A0, 40] = START_MS - 5_000
        assert [row.seconds for row in world.health_reports.lag()] == [0.0], "the topic may have been recreated"
        assert await world.answered() == [5.0]

    run(monkeypatch, work)


def test_a_partition_that_goes_on_is_as_old_as_it_was_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backlog is worked off, no batch may be open at the moment of a look: that is not 0 s behind."""

    async def work(world: World) -> None:
        world.ledger.assign(*A0, 40)
        world.consumer.watermarks[A0] = 100
        world.open(0, 40, 20, START_MS - 600_000)
        assert world.health_reports.lag()[0].seconds == 600.0
        world.ledger.finish(1)
        world.clock_s += 1
        assert world.health_reports.lag()[0].seconds == 601.0
        world.clock_s += 5
        world.ledger.advance(*A0, 70)
        assert world.health_reports.lag()[0].seconds == 0.0, "what was known long ago is not carried on"

    run(monkeypatch, work)


def test_while_a_sink_is_waited_for_the_ends_are_asked_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_module, "LOOK_INTERVAL_S", 0.001)

    async def work(world: World) -> None:
        world.ledger.assign(*A0, 100)
        running = asyncio.create_task(world.health_reports.run())
        await until(lambda: len(world.sent) == 5, "the first report")
        world.asked.clear()
        world.clock_s += 1.5
        await asyncio.sleep(0.05)
        assert world.asked == [], "fetch replies tell them"
        world.engine.holding_back = True
        world.consumer.limits[A0] = (0, 130)
        await until(lambda: world.health_reports.lag()[0].records == 30, "the new end")
        world.clock_s += 0.5
        await asyncio.sleep(0.05)
        assert world.asked == [A0]
        running.cancel()

    run(monkeypatch, work)


def test_a_partition_that_moved_away_is_not_reported_and_its_end_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 0)
        world.ledger.assign(*A1, 0)
        await world.health_reports._refresh_watermarks()
        assert [row[:2] for row in world.health_reports.lag()] == [A0, A1]
        world.ledger.revoke(*A0)
        lag = world.report(all_of_them=True)["lag"]["data"]
        assert [row["partition"] for row in lag["partitions"]] == [1] and lag["records"] == 50
        world.ledger.assign(*A0, 10)
        assert [row[:2] for row in world.health_reports.lag()] == [A1], "its old end may be far from the new one"

    run(monkeypatch, work)


def test_a_partition_that_moves_away_while_the_cluster_is_asked_is_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 0)
        ask = world._ask_offsets

        async def revoke_meanwhile(rows: list[tuple[str, int, int]]) -> list[PartitionOffset]:
            world.ledger.revoke(*A0)
            return await ask(rows)

        world.source.ask_offsets = revoke_meanwhile
        await world.health_reports._refresh_watermarks()
        assert world.health_reports.lag() == [] and world.health_reports._high == {}

    run(monkeypatch, work)


def test_only_partitions_whose_end_did_not_move_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 0)
        world.ledger.assign(*A1, 0)
        world.consumer.watermarks[A0] = 90
        await world.health_reports._refresh_watermarks()
        assert world.asked == [A1], "A0 came with a fetch"
        world.asked.clear()
        world.consumer.watermarks[A0] = 95
        await world.health_reports._refresh_watermarks()
        assert world.asked == [A1]
        world.asked.clear()
        await world.health_reports._refresh_watermarks()
        assert world.asked == [A0, A1], "a cached end that stands may be frozen"
        assert [row.high_watermark for row in world.health_reports.lag()] == [100, 50]

    run(monkeypatch, work)


@pytest.mark.parametrize("how", ["silent", "one partition"])
def test_an_end_that_the_cluster_does_not_tell_stays_as_it_was(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 0)
        await world.health_reports._refresh_watermarks()
        world.cluster_is_silent, world.consumer.errors = how == "silent", {A0: 6}
        await world.health_reports._refresh_watermarks()
        assert [row.high_watermark for row in world.health_reports.lag()] == [100]

    run(monkeypatch, work)


# What is reported, and when


def test_a_report_has_every_component_in_the_health_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        found = world.report(all_of_them=True)
        assert list(found) == COMPONENTS and {topic for topic, _ in world.sent} == {EventType.HEALTH}
        assert all(sent["data"]["status"] == "healthy" for sent in found.values())

    run(monkeypatch, work)


def test_between_two_reports_only_a_change_is_sent_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.report(all_of_them=True)
        assert world.report() == {} and world.lines.records == []
        world.redis.connected = False
        assert {name: sent["data"]["status"] for name, sent in world.report().items()} == {"redis": "unhealthy"}
        assert world.report() == {}
        world.redis.connected = True
        assert list(world.report()) == ["redis"]
        logged = [(line.component, line.status, line.levelname) for line in world.lines.records]
        assert logged == [("redis", "unhealthy", "WARNING"), ("redis", "healthy", "INFO")]

    run(monkeypatch, work)


@pytest.mark.parametrize(
    ("change", "component", "status"),
    [
        (lambda world: setattr(world.source, "joined", False), "kafka.consumer", Status.DEGRADED),
        (lambda world: setattr(world.kafka, "refused_count", 1), "kafka.producer", Status.DEGRADED),
        (lambda world: setattr(world.redis, "connected", False), "redis", Status.UNHEALTHY),
        (lambda world: setattr(world.source, "missed", 1), "pipeline", Status.DEGRADED),
        (lambda world: world.books.ended("a", delivered=1), "pipeline", Status.UNHEALTHY),
    ],
)
def test_a_component_that_is_not_well_shows_in_its_component_alone(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[World], None], component: str, status: Status
) -> None:
    async def work(world: World) -> None:
        change(world)
        found = world.report(all_of_them=True)
        assert {name for name, sent in found.items() if sent["data"]["status"] != "healthy"} == {component}
        assert world.health_reports.statuses[component] is status

    run(monkeypatch, work)


def test_lag_past_its_limit_degrades_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        world.ledger.assign(*A0, 0)
        world.consumer.watermarks[A0] = 101
        assert world.report()["lag"]["level"] == "warning"
        world.ledger.assign(*A0, 101)
        assert world.report()["lag"]["level"] == "info"

    run(monkeypatch, work)


def test_a_flood_ends_when_its_window_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        def take(good: int, bad: int) -> str:
            world.books.received("a", good + bad)
            world.books.ended("a", delivered=good, dead_lettered=bad)
            world.report()
            return world.health_reports.statuses["pipeline"].value

        assert take(0, 0) == "healthy"
        world.clock_s += 1
        assert take(0, 1000) == "unhealthy"
        world.clock_s += 58
        assert take(10, 0) == "unhealthy"
        world.clock_s += 2
        assert take(150, 0) == "healthy", "what came before the window counts no more"
        assert len(world.health_reports._window) <= 4, "and is not kept"

    run(monkeypatch, work)


def test_a_report_comes_at_its_interval_and_a_change_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_module, "LOOK_INTERVAL_S", 0.001)

    async def work(world: World) -> None:
        looks, report = 0, world.health_reports._report

        def look(**which: bool) -> None:
            nonlocal looks
            looks += 1
            report(**which)

        world.health_reports._report = look
        running = asyncio.create_task(world.health_reports.run())
        await until(lambda: len(world.sent) == 5, "the first report")
        world.redis.connected = False
        await until(lambda: len(world.sent) == 6, "the change")
        world.clock_s += 9.9
        seen = looks
        await until(lambda: looks > seen + 3, "some looks")
        assert len(world.sent) == 6
        world.clock_s += 0.2
        await until(lambda: len(world.sent) == 11, "the second report")
        running.cancel()

    run(monkeypatch, work)
