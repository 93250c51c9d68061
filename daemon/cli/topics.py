"""`ingestd topics`: a config in; its topics on the cluster out."""

import json
import re

import click
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console

from ingestd import config_check, kafka_options
from ingestd.cli import config_option
from ingestd.config import Config, load
from ingestd.errors import IngestdError

CLUSTER_TIMEOUT_S = 30.0
UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.group("topics")
def command() -> None:
    """Create the topics of a config."""


def retention_ms(text: str | None) -> str | None:
    """Milliseconds of `90m`, `12h`, `7d`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)([mhd])", text)
    if not match:
        raise click.UsageError(f"--retention {text}: write a number with m, h or d, as in 7d")
    return str(int(match[1]) * UNITS_MS[match[2]])


def wanted_topics(config: Config) -> list[str]:
    """Inputs that are names, and every output, each once."""
    inputs = [topic for topic in config.input_topics() if not topic.startswith("^")]
    return list(dict.fromkeys([*inputs, *config_check.outputs(config)]))


@command.command("create")
@config_option
@click.option("--partitions", default=6, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--replication-factor", default=-1, help="Copies of each partition; the broker's default when left out.")
@click.option("--retention", metavar="TIME", help="How long records are kept: 90m, 12h, 7d. Else the broker's default.")
@click.option("--json", "as_json", is_flag=True, help="What was done as JSON.")
def create(config_path: str | None, partitions: int, replication_factor: int, retention: str | None, as_json: bool) -> int:
    """Create the input, typed and dead-letter topics, and those that rules name. What is there stays as it is."""
    config = load(config_path)
    config_check.ensure(config)
    settings = {"max.message.bytes": str(kafka_options.message_bytes_max(config))}
    if kept := retention_ms(retention):
        settings["retention.ms"] = kept
    admin = AdminClient(kafka_options.client_options(config.kafka, "ingestd-topics") | {"log_level": "0"})
    wanted = [NewTopic(topic, partitions, replication_factor, config=settings) for topic in wanted_topics(config)]
    done: dict[str, str] = {}
    for topic, future in admin.create_topics(wanted, request_timeout=CLUSTER_TIMEOUT_S).items():
        try:
            future.result(CLUSTER_TIMEOUT_S)
            done[topic] = "created"
        except KafkaException as error:
            exists = error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
            done[topic] = "there already" if exists else f"failed: {error.args[0].str()}"
        except TimeoutError:
            raise IngestdError(f"{', '.join(config.kafka.brokers)} do not answer: see kafka.brokers") from None
    if as_json:
        print(json.dumps(done, indent=2))
    else:
        for topic, state in done.items():
            Console().print(f"{topic}: {state}", highlight=False, markup=False)
    return 1 if any(state.startswith("failed") for state in done.values()) else 0
