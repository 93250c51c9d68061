"""`ingestd validate`: a config in; every problem of it, of the cluster and of Redis out, each with its mend."""

import asyncio
import json
import re
from typing import Any

import click
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from rich.console import Console

from ingestd import config_check, kafka_options
from ingestd.cli import EXIT_CONFIG, config_option, librdkafka_options
from ingestd.config import Config, load
from ingestd.errors import ConfigError, Problem
from ingestd.sinks.redis_control import find_endpoint, read_facts

CLUSTER_TIMEOUT_S = 10.0
REDIS_VERSION_MIN = (6, 2)
# Eviction takes keys before their time: an index then names events that are gone.
KEEPING_POLICY = "noeviction"


class Findings:
    """What was found, in three rows: problems of the config, faults of the surroundings, and warnings."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.faults: list[Problem] = []
        self.warnings: list[Problem] = []
        self.checked: list[str] = []

    def exit_code(self) -> int:
        return EXIT_CONFIG if self.problems else 1 if self.faults else 0

    def as_dict(self) -> dict[str, Any]:
        rows = {"problems": self.problems, "faults": self.faults, "warnings": self.warnings}
        return {name: [row._asdict() for row in found] for name, found in rows.items()} | {"checked": self.checked}


def check_offline(config_path: str | None, findings: Findings) -> Config | None:
    """The file itself, its sense, and librdkafka's own view of the options."""
    try:
        config = load(config_path)
        config_check.ensure(config)
    except ConfigError as error:
        findings.problems += error.problems
        return None
    findings.checked.append("the config's form and sense")
    kafka = config.kafka
    findings.problems += librdkafka_options.check(kafka.consumer_options, "kafka.consumer_options")
    findings.problems += librdkafka_options.check(kafka.producer_options, "kafka.producer_options")
    for name, options in (("consumer", kafka_options.consumer_options(config, "validate")),
                          ("producer", kafka_options.producer_options(config, "validate"))):
        given = kafka.consumer_options if name == "consumer" else kafka.producer_options
        derived = {key: value for key, value in options.items() if key not in given}
        findings.problems += librdkafka_options.check(derived, f"(derived {name} option)")
    findings.checked.append("librdkafka's option names and values")
    return config


def check_cluster(config: Config, findings: Findings) -> None:
    """That brokers answer, topics are there, and large records fit."""
    options = kafka_options.client_options(config.kafka, "ingestd-validate") | {"log_level": "0"}
    admin = AdminClient(options)
    try:
        existing = set(admin.list_topics(timeout=CLUSTER_TIMEOUT_S).topics)
    except KafkaException as error:
        findings.faults.append(Problem("kafka.brokers", f"{', '.join(config.kafka.brokers)} do not answer within "
                                       f"{CLUSTER_TIMEOUT_S:.0f} s: {error.args[0].str()}", "start them, or name others"))
        return
    findings.checked.append(f"the cluster answers, {len(existing)} topics")
    written = config_check.outputs(config)
    for topic in config.input_topics():
        if topic.startswith("^"):
            matched = [name for name in existing if re.match(topic, name)]
            if not matched:
                findings.warnings.append(Problem("kafka.input_topics", f"{topic!r} matches no topic yet"))
            findings.problems += [
                Problem("kafka.input_topics", f"{topic!r} reads {name!r}, which is an output ({written[name]})")
                for name in matched if name in written
            ]
        elif topic not in existing:
            findings.faults.append(Problem("kafka.input_topics", f"{topic} is not there", "ingestd topics create"))
    findings.faults += [
        Problem(path, f"{topic} is not there", "ingestd topics create") for topic, path in written.items()
        if topic not in existing
    ]
    check_sizes(admin, config, [topic for topic in written if topic in existing], findings)


def check_sizes(admin: AdminClient, config: Config, topics: list[str], findings: Findings) -> None:
    """max.message.bytes of the topics that are written to, against the largest record."""
    wanted = kafka_options.message_bytes_max(config)
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics],
                                   request_timeout=CLUSTER_TIMEOUT_S)
    for resource, future in asked.items():
        try:
            limit = int(future.result(CLUSTER_TIMEOUT_S)["max.message.bytes"].value)
        except (KafkaException, TimeoutError, KeyError) as error:
            findings.warnings.append(Problem(resource.name, f"its max.message.bytes could not be read: {error}"))
            continue
        if limit < wanted:
            mend = f"set max.message.bytes to {wanted} for it, or lower pipeline.event_bytes_max"
            found = Problem("pipeline.event_bytes_max", f"{resource.name} takes records of {limit} bytes, the largest has "
                            f"{wanted}", mend)
            # A typed record that is too large still has the dead letters; a dead letter becomes a stub.
            findings.warnings.append(found)
    findings.checked.append("sizes of the output topics")


def check_redis(config: Config, findings: Findings) -> None:
    """That Redis answers, is a master, new enough, and keeps what it has."""
    async def ask():
        endpoint = await find_endpoint(config.redis)
        return endpoint, await read_facts(config.redis, endpoint)

    try:
        endpoint, facts = asyncio.run(ask())
    except (OSError, TimeoutError, redis.RedisError) as error:
        findings.faults.append(Problem("redis.url", f"Redis does not answer: {error}", "start it, or name another"))
        return
    findings.checked.append(f"Redis {facts.version} answers at {endpoint}")
    if tuple(map(int, facts.version.split(".")[:2])) < REDIS_VERSION_MIN:
        findings.faults.append(Problem("redis.url", f"{facts.version} is older than 6.2", "use a newer Redis or Valkey"))
    if facts.role != "master":
        findings.faults.append(Problem("redis.url", f"{endpoint} is a {facts.role}", "name the master, or use redis.sentinel"))
    if facts.memory_policy != KEEPING_POLICY:
        findings.warnings.append(Problem("redis.url", f"maxmemory-policy is {facts.memory_policy}: keys go before their time",
                                         f"set it to {KEEPING_POLICY}; a full Redis is then waited for"))


def show(findings: Findings, console: Console) -> None:
    """One line each."""
    for text in findings.checked:
        console.print(f"[green]ok[/green]       {text}", highlight=False)
    for mark, rows in (("[yellow]warning[/yellow] ", findings.warnings), ("[red]fault[/red]   ", findings.faults),
                       ("[red]problem[/red] ", findings.problems)):
        for row in rows:
            console.print(mark, end=" ")
            console.print(str(row), highlight=False, markup=False, soft_wrap=True)


@click.command("validate")
@config_option
@click.option("--offline", is_flag=True, help="Look at the config alone, not at the cluster and Redis.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def command(config_path: str | None, offline: bool, as_json: bool) -> int:
    """Check a config: every problem at once, each with its key and the mend.

    Without --offline also whether the cluster has the topics with fitting sizes, and whether Redis answers, is new
    enough and keeps its keys. Exit 0: fine, warnings allowed. 78: the config is wrong. 1: the config is fine, but the
    cluster or Redis is not.
    """
    findings = Findings()
    config = check_offline(config_path, findings)
    if config is not None and not findings.problems and not offline:
        check_cluster(config, findings)
        check_redis(config, findings)
    if as_json:
        print(json.dumps(findings.as_dict(), indent=2))
    else:
        show(findings, Console())
    return findings.exit_code()
