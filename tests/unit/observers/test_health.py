"""Health. In: figures. Out: statuses, and events in the form that every event has."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.config import checks
from ingestd.config.schema import Config, FloodConfig, HealthConfig
from ingestd.events.vocabulary import TYPE_NAMES, Verdict
from ingestd.observers.health import HealthReporter, PartitionLag, Status, lag_status, pipeline_status
from ingestd.pipeline.route_table import table_arguments

CONFIG = HealthConfig(lag_warning_records=100, lag_warning_s=60)
FLOOD = FloodConfig(max_ratio=0.5, min_events=1000)
NOON_S = 1_772_366_400.25  # 2026-03-01T12:00:00.25Z


def lag(records: int, seconds: float = 0.0, partition: int = 0) -> PartitionLag:
    return PartitionLag("in", partition, records, seconds, 5, 7, 7 + records)


def event(component: str = "redis", status: Status = Status.HEALTHY, **figures: Any) -> dict[str, Any]:
    reporter = HealthReporter(CONFIG, "pipeline-x", "host-a", "2", "0.1.0")
    return msgspec.json.decode(reporter.event(component, status, figures, NOON_S))


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], Status.HEALTHY),
        ([lag(100, 60.0)], Status.HEALTHY),
        ([lag(101)], Status.DEGRADED),
        ([lag(0, 60.1)], Status.DEGRADED),
        ([lag(51), lag(50, partition=1)], Status.DEGRADED),  # records add up
        ([lag(0, 40.0), lag(0, 40.0, partition=1)], Status.HEALTHY),  # times do not
        ([lag(1000, 600.0)], Status.DEGRADED),
        ([lag(1001)], Status.UNHEALTHY),
        ([lag(0, 600.1)], Status.UNHEALTHY),
        ([lag(0), lag(0, 700.0, partition=1)], Status.UNHEALTHY),  # the worst one counts
    ],
)
def test_lag_is_degraded_past_its_limits_and_unhealthy_past_ten_times_them(
    rows: list[PartitionLag], status: Status
) -> None:
    assert lag_status(rows, CONFIG) is status


@pytest.mark.parametrize(
    ("received", "dead_lettered", "status"),
    [
        (0, 0, Status.HEALTHY),
        (999, 999, Status.HEALTHY),  # too few to be called a flood
        (1000, 500, Status.HEALTHY),
        (1000, 501, Status.UNHEALTHY),
        (100_000, 50_001, Status.UNHEALTHY),
    ],
)
def test_a_flood_of_bad_events_is_unhealthy(received: int, dead_lettered: int, status: Status) -> None:
    assert pipeline_status(received, dead_lettered, FLOOD, True, 0) is status


def test_books_that_do_not_balance_are_unhealthy_whatever_else_is_well() -> None:
    assert pipeline_status(0, 0, FLOOD, False, 0) is Status.UNHEALTHY


def test_records_that_were_missed_degrade_and_hide_no_flood() -> None:
    assert pipeline_status(10, 0, FLOOD, True, 3) is Status.DEGRADED
    assert pipeline_status(1000, 501, FLOOD, True, 3) is Status.UNHEALTHY


@pytest.mark.parametrize(
    ("status", "level"), [(Status.HEALTHY, "info"), (Status.DEGRADED, "warning"), (Status.UNHEALTHY, "error")]
)
def test_the_message_and_level_say_the_status(status: Status, level: str) -> None:
    made = event("kafka.consumer", status)
    assert made["message"] == f"Health check: kafka.consumer is {status.value}"
    assert (made["level"], made["data"]["status"]) == (level, status.value)


def test_an_event_has_its_figures_and_says_who_speaks_and_when() -> None:
    made = event("lag", records=3)
    assert (made["type"], made["service"], made["component"]) == ("health", "pipeline-x", "lag")
    assert made["data"] == {"status": "healthy", "records": 3, "host": "host-a", "instance": "2", "version": "0.1.0"}
    assert datetime.fromisoformat(made["timestamp"]) == datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
    assert made["timestamp"].endswith("Z")


def test_two_events_have_two_ids() -> None:
    assert event()["id"] != event()["id"]


def test_the_daemon_takes_its_own_health_events_for_good_ones() -> None:
    """Another daemon may read them with kafka.index_only_topics."""
    config = Config()
    assert not checks.check(config)
    payload = HealthReporter(CONFIG, "s", "h", "", "0").event("redis", Status.DEGRADED, {"connected": False}, NOON_S)
    batch = Batch(1)
    batch.load([(payload, 0, "in", 0, 0, 0, None, False)])
    process_batch(batch, RouteTable((), **table_arguments(config)), IndexCache(), int(NOON_S))
    assert batch.verdicts() == [(Verdict.ROUTED, 0)]
    ((_, topic_index, *_),) = batch.sends()
    assert TYPE_NAMES[topic_index] == "health"
