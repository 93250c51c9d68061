"""`ingestd topics create`, and what the verbs ask a cluster. A config in; topics made, or facts of topics, out."""

import re
from collections.abc import Iterable
from typing import Any, Final

import click
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic

from ..config import checks
from ..config.kafka_connection import admin_options, message_bytes_max
from ..config.loading import load
from ..config.schema import Config, KafkaConfig
from ..errors import IngestdError
from . import config_option
from .shared.messages import printable
from .shared.output import Output, write_json

ANSWER_TIMEOUT_S = 5.0
CREATE_TIMEOUT_S = 15.0
# Apache Kafka's default of message.max.bytes, for a cluster that does not tell its own.
MESSAGE_BYTES_DEFAULT = 1_048_588
CLIENT_ERRORS: Final = (KafkaException, TimeoutError)
UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


class ClusterError(IngestdError):
    """The cluster did not answer, or refused. The text says which broker and why."""


def no_answer(error: Exception) -> str:
    """Why a client got no answer: a KafkaException carries a KafkaError; a future may also run out of time."""
    cause = error.args[0] if error.args else None
    return cause.str() if isinstance(cause, KafkaError) else str(error) or "no answer in time"


class Cluster:
    """Questions to a cluster, each with its time-out; every one may raise ClusterError.

    Runs on: the caller's thread, which waits.
    """

    def __init__(self, kafka: KafkaConfig, brokers: Iterable[str] | None = None) -> None:
        self._reasons: list[str] = []
        try:
            self._admin = AdminClient(admin_options(kafka, brokers) | {"error_cb": self._on_error})
        except CLIENT_ERRORS as error:
            raise ClusterError(no_answer(error)) from None

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._reasons.append(error.str())

    def metadata(self) -> ClusterMetadata:
        """Brokers and all topics that may be seen. What a connection failed of is said in place of the time-out."""
        try:
            return self._admin.list_topics(timeout=ANSWER_TIMEOUT_S)
        except CLIENT_ERRORS as error:
            self._admin.poll(0)
            reason = self._reasons[-1] if self._reasons else no_answer(error)
            raise ClusterError(reason) from None

    def message_bytes_default(self, broker_id: int) -> int:
        """The broker's message.max.bytes, which a topic without its own setting has."""
        return self._ask(ConfigResource.Type.BROKER, [str(broker_id)], "message.max.bytes")[str(broker_id)]

    def message_bytes_limits(self, topics: Iterable[str]) -> dict[str, int]:
        """max.message.bytes by topic."""
        return self._ask(ConfigResource.Type.TOPIC, topics, "max.message.bytes")

    def _ask(self, kind: ConfigResource.Type, names: Iterable[str], setting: str) -> dict[str, int]:
        resources = [ConfigResource(kind, name) for name in names]
        if not resources:
            return {}
        try:
            answers = self._admin.describe_configs(resources, request_timeout=ANSWER_TIMEOUT_S)
            return {
                resource.name: int(answer.result(ANSWER_TIMEOUT_S + 1)[setting].value)
                for resource, answer in answers.items()
            }
        except CLIENT_ERRORS as error:
            raise ClusterError(no_answer(error)) from None

    def committed(self, group: ConsumerGroupTopicPartitions) -> dict[tuple[str, int], int]:
        """What a group has committed, by (topic, partition); those without a commit are left out."""
        try:
            (answer,) = self._admin.list_consumer_group_offsets([group], request_timeout=ANSWER_TIMEOUT_S).values()
            found = answer.result(ANSWER_TIMEOUT_S + 1).topic_partitions
        except CLIENT_ERRORS as error:
            raise ClusterError(no_answer(error)) from None
        return {(row.topic, row.partition): row.offset for row in found if row.error is None and row.offset >= 0}

    def create(self, topics: Iterable[NewTopic]) -> dict[str, KafkaError | None]:
        """What became of each: None is made."""
        made = self._admin.create_topics(
            list(topics), operation_timeout=CREATE_TIMEOUT_S, request_timeout=CREATE_TIMEOUT_S
        )
        result: dict[str, KafkaError | None] = {}
        for name, future in made.items():
            try:
                future.result(CREATE_TIMEOUT_S + 1)
                result[name] = None
            except KafkaException as error:
                result[name] = error.args[0]
            except TimeoutError:
                result[name] = KafkaError(KafkaError._TIMED_OUT)
        return result


def wanted_topics(config: Config) -> list[str]:
    """Inputs but regular expressions, typed topics, dead letters, and what rules name: each once."""
    inputs = [topic for topic in config.input_topics() if not topic.startswith("^")]
    return list(dict.fromkeys((*inputs, *checks.outputs(config))))


class Duration(click.ParamType):
    """`7d`, `12h`, `forever`; milliseconds out."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "forever":
            return -1
        match = re.fullmatch(r"([1-9]\d{0,8})([smhdw])", value)
        if match is None:
            self.fail(f"{value!r} is no time: write 90s, 30m, 12h, 7d, 2w or forever", param, ctx)
        return int(match.group(1)) * UNIT_MS[match.group(2)]


class Creation:
    """One run of `topics create`: what was made, what was there, what failed."""

    def __init__(self, config: Config, cluster: Cluster) -> None:
        self.config, self.cluster = config, cluster
        self.needed_bytes = message_bytes_max(config)
        self.created: list[dict[str, Any]] = []
        self.existing: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def run(self, partitions: int, replication_factor: int, retention_ms: int | None) -> None:
        try:
            metadata = self.cluster.metadata()
        except ClusterError as error:
            raise ClusterError(f"no broker of kafka.brokers answers: {error}") from None
        there = metadata.topics
        missing = [name for name in wanted_topics(self.config) if name not in there]
        settings = self.settings(next(iter(metadata.brokers), 0), retention_ms) if missing else {}
        new = [NewTopic(name, partitions, replication_factor, config=settings) for name in missing]
        for name, error in (self.cluster.create(new) if new else {}).items():
            if error is None:
                self.created.append({"topic": name, "partitions": partitions, "config": settings})
            elif error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another one was quicker
                self.existing.append({"topic": name})
            else:
                self.failed.append({"topic": name, "error": error.name(), "reason": error.str()})
        self.existing += [
            {"topic": name, "partitions": len(there[name].partitions)}
            for name in wanted_topics(self.config)
            if name in there
        ]
        self.look_at_sizes()

    def settings(self, broker_id: int, retention_ms: int | None) -> dict[str, str]:
        """The settings of a new topic. What the broker's own default gives already is left to it."""
        try:
            default_bytes = self.cluster.message_bytes_default(broker_id)
        except ClusterError:
            default_bytes = MESSAGE_BYTES_DEFAULT
        settings = {} if retention_ms is None else {"retention.ms": str(retention_ms)}
        if self.needed_bytes > default_bytes:
            settings["max.message.bytes"] = str(self.needed_bytes)
        return settings

    def look_at_sizes(self) -> None:
        try:
            limits = self.cluster.message_bytes_limits(row["topic"] for row in self.existing)
        except ClusterError as error:
            self.warnings.append(f"max.message.bytes of the topics that were there can't be read: {error}")
            return
        for row in self.existing:
            row["max_message_bytes"] = limits[row["topic"]]
            if row["max_message_bytes"] < self.needed_bytes:
                self.warnings.append(
                    f"{row['topic']}: max.message.bytes is {row['max_message_bytes']}, the largest "
                    f"record has {self.needed_bytes}; {size_mend(row['topic'], self.needed_bytes)}"
                )

    def as_dict(self) -> dict[str, Any]:
        return {"created": self.created, "existing": self.existing, "failed": self.failed, "warnings": self.warnings}

    def show(self, console: Output) -> None:
        def line(mark: str, style: str, text: str) -> None:
            console.line((f"{mark:8} ", style), printable(text))

        for row in self.created:
            settings = "".join(f", {key} {value}" for key, value in row["config"].items())
            line("created", "green", f"{row['topic']}: {row['partitions']} partitions{settings}")
        for row in self.existing:
            count = f": {row['partitions']} partitions" if "partitions" in row else ""
            line("exists", "dim", f"{row['topic']}{count}")
        for text in self.warnings:
            line("warning", "yellow", text)
        for row in self.failed:
            line("failed", "red", f"{row['topic']}: {row['error']}: {row['reason']}")


def size_mend(topic: str, needed_bytes: int) -> str:
    """How an existing topic is made to take larger records."""
    return (
        f"kafka-configs --alter --entity-type topics --entity-name {topic} "
        f"--add-config max.message.bytes={needed_bytes}, or lower pipeline.event_bytes_max"
    )


@click.group("topics")
def command() -> None:
    """The topics of a config."""


@command.command("create")
@config_option
@click.option("--partitions", default=6, show_default=True, type=click.IntRange(1, 10_000), help="Of each new topic.")
@click.option("--replication-factor", type=click.IntRange(1, 100), help="Of each new topic. Else the broker's default.")
@click.option(
    "--retention",
    type=Duration(),
    metavar="TIME",
    help="Of each new topic: 90s, 30m, 12h, 7d, 2w or forever. Else the broker's default.",
)
@click.option("--json", "as_json", is_flag=True, help="What was done as JSON.")
def create(
    config_path: str | None, partitions: int, replication_factor: int | None, retention: int | None, as_json: bool
) -> int:
    """Create every topic of a config that is not there: inputs, typed topics, dead letters, topics of rules.

    What is there is left as it is; a limit of it that is too small for the largest event is a warning. Regular
    expressions among the inputs are passed over.
    """
    config = load(config_path)
    checks.ensure(config)
    creation = Creation(config, Cluster(config.kafka))
    # -1: the broker decides.
    creation.run(partitions, replication_factor or -1, retention)
    if as_json:
        write_json(creation.as_dict())
    else:
        creation.show(Output())
    return 1 if creation.failed else 0
