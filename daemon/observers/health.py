"""Health: statuses, their rules, and health events as JSON bytes. Pure: the time is an argument."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from ..config.schema import FloodConfig, HealthConfig


class Status(Enum):
    """Worst last."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


LEVELS = {Status.HEALTHY: "info", Status.DEGRADED: "warning", Status.UNHEALTHY: "error"}


class PartitionLag(NamedTuple):
    """How far behind one partition is. `position`: the first record that has not reached its end."""

    topic: str
    partition: int
    records: int
    seconds: float
    committed: int
    position: int
    high_watermark: int

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def lag_status(partitions: Sequence[PartitionLag], config: HealthConfig) -> Status:
    """Degraded past either warning limit, unhealthy past ten times it."""
    records = sum(row.records for row in partitions)
    seconds = max((row.seconds for row in partitions), default=0.0)
    if records > 10 * config.lag_warning_records or seconds > 10 * config.lag_warning_s:
        return Status.UNHEALTHY
    if records > config.lag_warning_records or seconds > config.lag_warning_s:
        return Status.DEGRADED
    return Status.HEALTHY


def pipeline_status(received: int, dead_lettered: int, flood: FloodConfig, balanced: bool, missed: int) -> Status:
    """`received` and `dead_lettered` in the flood window. A flood, or books that do not balance, are unhealthy."""
    if not balanced or (received >= flood.min_events and dead_lettered > flood.max_ratio * received):
        return Status.UNHEALTHY
    return Status.DEGRADED if missed else Status.HEALTHY


class HealthReporter:
    """Makes the health events of one daemon."""

    def __init__(self, config: HealthConfig, service_name: str, host: str, instance: str, version: str) -> None:
        self._config = config
        self._service_name = service_name
        self._identity = {"host": host, "instance": instance, "version": version}
        self._encode = msgspec.json.Encoder().encode

    def event(self, component: str, status: Status, figures: dict[str, Any], wall_s: float) -> bytes:
        """One event as JSON bytes, in the form of every event."""
        stamp = datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self._encode(
            {
                "id": str(uuid4()),
                "type": "health",
                "level": LEVELS[status],
                "service": self._service_name,
                "component": component,
                "message": f"Health check: {component} is {status.value}",
                "timestamp": stamp,
                "data": {"status": status.value, **figures, **self._identity},
            }
        )
