"""`ingestd lag`: how far this group is behind, asked of the cluster alone."""

import re
import time
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import click
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from ..config import checks
from ..config.loading import load
from ..config.schema import Config
from ..observers.record_times import NO_TIME, RecordTimeReader
from . import config_option
from .shared.output import Output, show_table, write_json
from .topics import ANSWER_TIMEOUT_S, CLIENT_ERRORS, Cluster, ClusterError, no_answer

# One look at the oldest unread record of each partition that is behind: for all of them together.
READ_TIMEOUT_S: Final = 10.0


class Row(NamedTuple):
    """One partition. committed: -1 where the group has none; then `records` counts from the log's start.
    seconds: age of the oldest record that is not committed; None where it could not be read."""

    topic: str
    partition: int
    committed: int
    log_start: int
    log_end: int
    records: int
    seconds: float | None


def topics_of(config: Config, there: set[str]) -> list[str]:
    """The inputs of a config as the cluster has them; expressions by the topics that they match."""
    found: list[str] = []
    for topic in config.input_topics():
        if topic.startswith("^"):
            found += sorted(name for name in there if re.match(topic, name))
        else:
            found.append(topic)
    return list(dict.fromkeys(found))


class Asker:
    """Questions about one group. Every one may raise ClusterError. Runs on: the caller's thread, which waits."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.cluster = Cluster(config.kafka)
        self.reader = RecordTimeReader(config.kafka, f"{config.kafka.client_id or 'ingestd'}-lag")

    def close(self) -> None:
        self.reader.rest()

    def partitions(self) -> list[TopicPartition]:
        metadata = self.cluster.metadata()
        wanted = topics_of(self.config, set(metadata.topics))
        missing = [topic for topic in wanted if topic not in metadata.topics]
        if missing:
            raise ClusterError(f"the cluster has no topic {', '.join(missing)}: ingestd topics create")
        return [TopicPartition(topic, p) for topic in wanted for p in sorted(metadata.topics[topic].partitions)]

    def rows(self) -> list[Row]:
        """Every partition of the inputs, in order."""
        partitions = self.partitions()
        committed = self.cluster.committed(ConsumerGroupTopicPartitions(self.config.kafka.group_id, partitions))
        rows = []
        for place in partitions:
            try:
                start, end = self.reader.consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT_S)
            except CLIENT_ERRORS as error:
                raise ClusterError(no_answer(error)) from None
            offset = committed.get((place.topic, place.partition), -1)
            first = max(start, offset) if offset >= 0 else start
            rows.append(Row(place.topic, place.partition, offset, start, end, max(0, end - first), 0.0))
        ages = self.ages([row for row in rows if row.records])
        return [row._replace(seconds=ages.get((row.topic, row.partition))) if row.records else row for row in rows]

    def ages(self, behind: list[Row]) -> dict[tuple[str, int], float]:
        """Seconds since the oldest uncommitted record of each, where it could be read in time."""
        offsets = {(row.topic, row.partition): max(row.log_start, row.committed) for row in behind}
        times_ms = self.reader.times_ms(offsets, READ_TIMEOUT_S)
        now_s = time.time()
        return {
            key: round(max(0.0, now_s - time_ms / 1000), 3) for key, time_ms in times_ms.items() if time_ms != NO_TIME
        }


def as_dict(group: str, rows: list[Row], now_s: float) -> dict[str, Any]:
    return {
        "group": group,
        "time": datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "records": sum(row.records for row in rows),
        "seconds": max((row.seconds or 0.0 for row in rows), default=0.0),
        "partitions": [row._asdict() for row in rows],
    }


def show(console: Output, state: dict[str, Any]) -> None:
    head = ("topic", "partition", "committed", "log end", "records", "seconds")
    rows = [
        (
            row["topic"],
            str(row["partition"]),
            "none" if row["committed"] < 0 else f"{row['committed']:,}",
            f"{row['log_end']:,}",
            f"{row['records']:,}",
            "unknown" if row["seconds"] is None else f"{row['seconds']:,.1f}",
        )
        for row in state["partitions"]
    ]
    styles = ["yellow" if row["records"] else "" for row in state["partitions"]]
    show_table(console, head, rows, styles, title=f"Group {state['group']}: {state['records']:,} records behind")


@click.command("lag")
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(config_path: str | None, as_json: bool) -> int:
    """Show how far this group is behind, also when no daemon runs.

    Asks the cluster for what kafka.group_id has committed and for the ends of the input topics. Seconds are the age of
    the oldest record that is not committed.
    """
    config = load(config_path)
    checks.ensure(config)
    asker = Asker(config)
    try:
        state = as_dict(config.kafka.group_id, asker.rows(), time.time())
    finally:
        asker.close()
    if as_json:
        write_json(state)
    else:
        show(Output(), state)
    return 0
