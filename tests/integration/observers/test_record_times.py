"""The reader on the mock cluster: it dates single records and joins no group."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from ingestd._librdkafka import MockCluster
from ingestd.config.schema import KafkaConfig
from ingestd.observers.record_times import RecordTimeReader
from tests.support.daemon_process import INPUT
from tests.support.harness import Harness, event, make_config, mock_cluster, publish, until


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    node = mock_cluster(partitions=2)
    yield node
    node.close()


@pytest.fixture
def reader(cluster: MockCluster) -> Iterator[RecordTimeReader]:
    made = RecordTimeReader(KafkaConfig(brokers=[cluster.bootstraps]), "test-record-times")
    yield made
    made.rest()


def test_the_record_at_an_offset_is_dated_again_and_again(cluster: MockCluster, reader: RecordTimeReader):
    now_ms = int(time.time() * 1000)
    for age_s in (300, 200, 100):
        publish(cluster, [event(str(age_s))], timestamp=now_ms - 1000 * age_s)
    assert reader.times_ms({(INPUT, 0): 1}, 20) == {(INPUT, 0): now_ms - 200_000}
    assert reader.times_ms({(INPUT, 0): 0}, 20) == {(INPUT, 0): now_ms - 300_000}
    reader.rest()
    assert reader.times_ms({(INPUT, 0): 2}, 20) == {(INPUT, 0): now_ms - 100_000}, "also after a rest"


def test_a_place_that_is_not_there_is_not_told(cluster: MockCluster, reader: RecordTimeReader):
    now_ms = int(time.time() * 1000)
    publish(cluster, [event("a")], timestamp=now_ms)
    found = reader.times_ms({(INPUT, 0): 0, (INPUT, 1): 0, ("no.such.topic", 0): 3}, 2)
    assert found == {(INPUT, 0): now_ms}


def test_a_cluster_that_is_away_costs_the_time_limit_and_no_error():
    away = RecordTimeReader(KafkaConfig(brokers=["127.0.0.1:1"]), "test-record-times")
    begun_s = time.monotonic()
    assert away.times_ms({(INPUT, 0): 0}, 0.3) == {}
    assert time.monotonic() - begun_s < 10
    away.rest()


def test_a_daemon_dates_a_backlog_that_it_does_not_take(cluster: MockCluster):
    """With Redis away at the start and room for one event: one partition is never taken from."""
    old_ms = int(time.time() * 1000) - 600_000
    publish(cluster, [event(str(n)) for n in range(5)], timestamp=old_ms)
    config = make_config(cluster, "redis://127.0.0.1:1/0", pipeline={"batch_events_max": 1, "in_flight_events_max": 1})
    harness = Harness(config)

    async def run() -> None:
        async with harness as app:
            app.engine.hold()
            await until(lambda: app.health_reports.lag() and app.health_reports.lag()[0].seconds >= 600, "it is dated")
            (row,) = [row for row in app.health_reports.lag() if row.records]
            assert row.records == 5 and abs(row.seconds - (time.time() - old_ms / 1000)) < 1
            assert app.ledger.unfinished() == 0, "nothing was taken"
            app.engine.resume()

    asyncio.run(run())
