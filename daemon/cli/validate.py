"""`ingestd validate`: every problem of a config, of the cluster and of Redis, each with its key and the mend."""

import asyncio
import os
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import click
import redis
from confluent_kafka.admin import ClusterMetadata

from ..config import checks, full_check
from ..config.kafka_connection import CONNECTION_PREFIXES, message_bytes_max
from ..config.loading import Loaded, find, load_located
from ..config.redis_options import DIAL_TIMEOUT_S, Endpoint
from ..config.schema import Config, KafkaConfig, RedisConfig
from ..config.topic_pattern import TopicPattern
from ..errors import ConfigError, Problem, RedisProtocolError
from ..pipeline.sinks.redis_server import RedisRefused, connect, find_endpoint, knock
from . import EXIT_CONFIG, config_option
from .shared.messages import printable
from .shared.output import Output, write_json
from .topics import Cluster, ClusterError, size_mend

REDIS_VERSION_MIN = (6, 2)
# Finding the master and asking it, each with its own dialling and reply.
REDIS_TIMEOUT_S = 3 * DIAL_TIMEOUT_S
BROKERS_ASKED_AT_ONCE = 16
CREATE_MEND = "ingestd topics create"
# With a problem in one of these a cluster or a Redis can't be asked in earnest.
KAFKA_PATHS = (
    "kafka.brokers",
    "kafka.security",
    *(f"kafka.{side}_options.{prefix}" for side in ("consumer", "producer") for prefix in CONNECTION_PREFIXES),
)
REDIS_PATHS = ("redis.",)


class Findings:
    """Everything that was found. `problems` are the config's, `faults` the cluster's and Redis's."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.faults: list[Problem] = []
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []
        self.checked: list[str] = []

    def fault(self, path: str, what: str, mend: str = "") -> None:
        self.faults.append(Problem(path, what, mend))

    def warning(self, path: str, what: str, mend: str = "") -> None:
        self.warnings.append(Problem(path, what, mend))

    def note(self, path: str, what: str, mend: str = "") -> None:
        self.notes.append(Problem(path, what, mend))

    def locate(self, loaded: Loaded) -> None:
        """What a cluster says of a key has the key's place too."""
        for rows in (self.problems, self.faults, self.warnings, self.notes):
            rows[:] = loaded.located(rows)

    def has_problem_in(self, paths: tuple[str, ...]) -> bool:
        return any(problem.path.startswith(paths) for problem in self.problems)

    @property
    def exit_code(self) -> int:
        return EXIT_CONFIG if self.problems else 1 if self.faults else 0

    def as_dict(self) -> dict[str, Any]:
        def rows(found: list[Problem]) -> list[dict[str, str]]:
            return [problem._asdict() for problem in found]

        return {
            "problems": rows(self.problems + self.faults),
            "warnings": rows(self.warnings),
            "notes": rows(self.notes),
            "checked": self.checked,
        }

    def show(self, console: Output, source: str) -> None:
        for rows, mark, plain, style in (
            ([f"checked {text}" for text in self.checked], "✓", "ok", "green"),
            (self.notes, "·", "note", "dim"),
            (self.warnings, "!", "warning", "yellow"),
            (self.problems + self.faults, "✗", "problem", "bold red"),
        ):
            for row in rows:
                console.line((console.glyph(mark, plain), style), printable(f" {row}"))
        counts = [
            f"{count} {word}{'s' if count != 1 else ''}"
            for count, word in ((len(self.problems) + len(self.faults), "problem"), (len(self.warnings), "warning"))
            if count
        ]
        console.line(printable(f"{source}: {', '.join(counts) or 'fine'}"))


def check_offline(loaded: Loaded, findings: Findings) -> None:
    """What can be seen without a cluster."""
    report = full_check.examine(loaded)
    findings.problems += report.problems
    findings.warnings += report.warnings
    findings.checked.append("the config: keys, values, topics, rules, files")
    findings.checked.append(f"{report.option_count} options by librdkafka {report.version}")


def check_online(config: Config, findings: Findings) -> None:
    """The cluster and Redis, as far as the config lets them be asked."""
    if findings.has_problem_in(KAFKA_PATHS):
        findings.note("kafka", "the cluster was not asked", "mend the problems first")
    else:
        check_kafka(config, findings)
    if findings.has_problem_in(REDIS_PATHS):
        findings.note("redis", "Redis was not asked", "mend the problems first")
    else:
        check_redis(config.redis, findings)


def check_places(config: Config, findings: Findings) -> None:
    """Whether this machine has what the daemon would listen at: a folder for each socket, an address for the host."""
    for key, place in (("http.listen", config.http.listen), ("control.socket", config.control.socket_path())):
        if place is None or findings.has_problem_in((key,)):
            continue
        if place.startswith("/") or key == "control.socket":
            folder = os.path.dirname(place) or "."
            if not os.path.isdir(folder):
                what, mend = f"{place} is in a folder that is not there", "make it, or choose another place"
                findings.problems.append(Problem(key, what, mend))
            continue
        host, _, port = place.rpartition(":")
        try:
            socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            findings.problems.append(Problem(key, f"{host} is no address: {error.strerror}", "127.0.0.1:PORT is one"))


def check_kafka(config: Config, findings: Findings) -> None:
    metadata = check_brokers(config.kafka, findings)
    if metadata is None:
        return
    check_inputs(config, metadata, findings)
    outputs = checks.outputs(config)
    for topic, path in outputs.items():
        if topic not in metadata.topics:
            findings.fault(path, f"the cluster has no topic {topic}, or it may not be seen", CREATE_MEND)
    there = {topic: path for topic, path in outputs.items() if topic in metadata.topics}
    findings.checked.append(f"kafka topics: {len(there)} of {len(outputs)} outputs are there")
    check_sizes(config, there, findings)


def ask(kafka: KafkaConfig, brokers: Iterable[str]) -> dict[str, ClusterMetadata | ClusterError]:
    """The metadata that each broker gives, or why it gives none. All are asked at once."""

    def one(broker: str) -> ClusterMetadata | ClusterError:
        try:
            return Cluster(kafka, [broker]).metadata()
        except ClusterError as error:
            return error

    named = list(dict.fromkeys(brokers))
    with ThreadPoolExecutor(BROKERS_ASKED_AT_ONCE) as pool:
        return dict(zip(named, pool.map(one, named), strict=True))


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_brokers(kafka: KafkaConfig, findings: Findings) -> ClusterMetadata | None:
    """Those that are named, then those that the cluster tells clients to go to."""
    answers = ask(kafka, kafka.brokers)
    found = [answer for answer in answers.values() if not isinstance(answer, ClusterError)]
    for broker, answer in answers.items():
        if isinstance(answer, ClusterError):
            # One of several may be down for a while: the others tell clients where to go.
            say = findings.warning if found else findings.fault
            say(
                f"kafka.brokers[{kafka.brokers.index(broker)}]",
                f"{broker} does not answer: {answer}",
                "start it, or correct the address or kafka.security",
            )
    if not found:
        return None
    if len({metadata.cluster_id for metadata in found}) > 1:
        findings.fault("kafka.brokers", "the brokers belong to different clusters", "name those of one")
    advertised = {address(broker.host, broker.port): broker.id for broker in found[0].brokers.values()}
    for where, answer in ask(kafka, advertised.keys() - answers.keys()).items():
        if isinstance(answer, ClusterError):
            findings.fault(
                "kafka.brokers",
                f"broker {advertised[where]} sends clients to {where}, which does not answer: {answer}",
                "start it, or correct its advertised.listeners",
            )
    findings.checked.append(
        f"kafka brokers: {len(found)} of {len(answers)} named ones answer, the cluster has {len(advertised)}"
    )
    return found[0]


def check_inputs(config: Config, metadata: ClusterMetadata, findings: Findings) -> None:
    inputs = config.input_topics()
    for topic in inputs:
        path = "kafka.topics.observability_events" if config.kafka.input_topics is None else "kafka.input_topics"
        if topic in config.old_topics():
            path = f"kafka.topics.{config.old_topics()[topic]}"
        if topic in config.kafka.index_only_topics:
            path = "kafka.index_only_topics"
        if topic.startswith("^"):
            # One that is no regular expression is a problem of the config already.
            if not any(matches(topic, name) for name in metadata.topics):
                findings.warning(
                    path, f"{topic} matches no topic of the cluster yet", "a topic is taken as soon as it appears"
                )
        elif topic not in metadata.topics:
            findings.fault(path, f"the cluster has no topic {topic}, or it may not be seen", CREATE_MEND)
    findings.checked.append(f"kafka topics: {len(inputs)} input{'s' if len(inputs) > 1 else ''}")


def matches(pattern: str, name: str) -> bool:
    try:
        return TopicPattern(pattern).matches(name)
    except ValueError:
        return True


def check_sizes(config: Config, topics: dict[str, str], findings: Findings) -> None:
    """Whether the largest event fits. One that a typed topic refuses is dead-lettered, and there it must fit."""
    needed_bytes = message_bytes_max(config)
    try:
        limits = Cluster(config.kafka).message_bytes_limits(topics)
    except ClusterError as error:
        findings.warning(
            "pipeline.event_bytes_max",
            f"max.message.bytes of the topics can't be read: {error}",
            "it needs the right to DescribeConfigs",
        )
        return
    for topic, limit_bytes in limits.items():
        if limit_bytes < needed_bytes:
            dead_letter = topic == config.kafka.topics.dead_letter
            say = findings.fault if dead_letter else findings.warning
            then = "a dead letter would lose its end" if dead_letter else "larger events become dead letters"
            say(
                topics[topic],
                f"{topic} takes {limit_bytes} bytes a record (max.message.bytes), the largest event with "
                f"its headers has {needed_bytes}: {then}",
                size_mend(topic, needed_bytes),
            )
    findings.checked.append(f"kafka sizes: max.message.bytes of {len(limits)} outputs against {needed_bytes}")


class RedisAnswer(NamedTuple):
    """What a Redis says of itself. `save`: its snapshot settings, None when it does not tell."""

    endpoint: Endpoint
    info: dict[str, Any]
    save: str | None


async def ask_redis(config: RedisConfig) -> RedisAnswer:
    """Raises RedisRefused, RedisProtocolError, redis.RedisError, OSError or ValueError."""
    endpoint = await find_endpoint(config)
    await knock(config, endpoint)
    client = connect(config, endpoint, decode_responses=True)
    try:
        info = await client.info()
        try:
            save = (await client.config_get("save")).get("save", "")
        except redis.RedisError:  # CONFIG may be forbidden or renamed
            save = None
        return RedisAnswer(endpoint, info, save)
    finally:
        await client.aclose()


def check_redis(config: RedisConfig, findings: Findings) -> None:
    path = "redis.url" if config.sentinel is None else "redis.sentinel"
    try:
        answer = asyncio.run(asyncio.wait_for(ask_redis(config), REDIS_TIMEOUT_S))
    except RedisRefused as error:
        refused(path, error, findings)
        return
    except TimeoutError:
        findings.fault(path, "Redis does not answer in time", "start it, or correct the address")
        return
    except RedisProtocolError as error:
        findings.fault(path, str(error), "correct the address or redis.tls")
        return
    except (redis.RedisError, OSError, ValueError) as error:
        findings.fault(path, f"Redis does not answer: {error}", "start it, or correct the address or redis.tls")
        return
    judge_redis(config, path, answer, findings)


def refused(path: str, error: RedisRefused, findings: Findings) -> None:
    """Redis is there and answers with an error: it says which."""
    if error.of_login:
        findings.fault("redis.password_file", f"Redis refuses the user or the password: {error}", "or redis.username")
    elif str(error).startswith("NOPERM"):
        findings.fault(path, f"Redis answers with an error: {error}", "its user needs INFO, SET, ZADD, EXPIRE and more")
    else:
        findings.fault(path, f"Redis answers with an error: {error}", "ask again when it is ready, or correct the URL")


def judge_redis(config: RedisConfig, path: str, answer: RedisAnswer, findings: Findings) -> None:
    """What INFO says against what the daemon needs."""
    info = answer.info
    version = str(info.get("redis_version", "0"))
    if tuple(int(digits) for digits in re.findall(r"\d+", version)[:2]) < REDIS_VERSION_MIN:
        findings.fault(path, f"Redis {version} is too old", "use Redis 6.2 or newer, or Valkey 7.2 or newer")
    role = info.get("role", "master")
    if role != "master":
        findings.fault(path, f"the server is a {role}, which takes no writes", "name the master, or use redis.sentinel")
    if info.get("redis_mode") == "cluster":
        findings.fault(path, "the server is part of a Redis Cluster, which is not supported", "use a single master")
    replica_count = int(info.get("connected_slaves", 0))
    if config.wait_replicas > replica_count:
        findings.warning(
            "redis.wait_replicas",
            f"{config.wait_replicas} are waited for, {replica_count} are connected",
            "connect more replicas, or lower it",
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        findings.warning(
            path,
            f"maxmemory-policy is {policy}: a full Redis removes keys before their time to live",
            "CONFIG SET maxmemory-policy noeviction; redis.on_full says what happens then",
        )
    if not info.get("aof_enabled") and answer.save == "":
        findings.note(
            path,
            "Redis keeps nothing over a restart: neither appendonly nor save is set",
            "after one, the index is empty until events come again",
        )
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    findings.checked.append(f"redis: {name}, {role}, at {answer.endpoint}")


@click.command("validate")
@config_option
@click.option("--offline", is_flag=True, help="Ask neither the cluster nor Redis.")
@click.option("--json", "as_json", is_flag=True, help="Everything that was found as JSON.")
def command(config_path: str | None, offline: bool, as_json: bool) -> int:
    """Check a config, and with it the cluster and Redis.

    Every problem is named at once, with its key and the mend. Exit 0 when there is none (warnings are none), 78 when
    the config has one, 1 when only the cluster or Redis has.
    """
    findings = Findings()
    source = config_path or "(config)"
    try:
        source = str(find(config_path))
        loaded = load_located(config_path)
    except ConfigError as error:
        findings.problems += error.problems
    else:
        source = loaded.source
        check_offline(loaded, findings)
        if not offline:
            check_places(loaded.config, findings)
            check_online(loaded.config, findings)
            findings.locate(loaded)
    if as_json:
        write_json(findings.as_dict())
    else:
        findings.show(Output(), source)
    return findings.exit_code
