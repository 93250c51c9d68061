"""Whether a config makes sense: every problem at once, each with its key and what to do. Asks no cluster."""

import re
from collections.abc import Iterator

from ..errors import ConfigError, Problem
from ..events.rules import MatchConfig, RuleConfig
from ..events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES, TYPED_TOPIC_KEYS
from .kafka_connection import RECORD_MARGIN_BYTES
from .kafka_consumers import held_bytes_max, refused_consumer_options
from .kafka_producers import refused_producer_options
from .keys import values
from .redis_options import BadUrl, is_host, read_url
from .schema import OUTPUT_TOPIC_KEYS, Config, RedisConfig
from .secrets import unreadable_files
from .topic_pattern import TopicPattern

# Topics of one event; the fast path's TOPICS_PER_EVENT_MAX less its typed topic.
RULE_TOPICS_MAX = 31
CREDENTIALS_MEND = "use redis.username and redis.password_file"
# Of all rules together. An output topic costs a handle in librdkafka and a counter.
OUTPUT_TOPICS_MAX = 1000
INPUT_TOPICS_MAX = 1000
TOPIC_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]]+):([0-9]{1,5})")


def check(config: Config) -> list[Problem]:
    """All problems of sense that can be seen without a cluster."""
    found = [*_ranges(config), *_kafka(config)]
    found += [*refused_consumer_options(config.kafka), *refused_producer_options(config.kafka)]
    found += [*_topics(config), *_redis(config.redis), *_pipeline(config), *_http(config), *_rule_topics(config)]
    names: set[str] = set()
    for index, rule in enumerate(config.rules):
        found += _rule(rule, f"rules[{index}]")
        if rule.name in names:
            found.append(Problem(f"rules[{index}].name", f"{rule.name!r} stands twice", "give each rule its own name"))
        if not rule.name:
            found.append(Problem(f"rules[{index}].name", "is empty", "the metrics and the log name a rule by it"))
        names.add(rule.name)
    return found


def ensure(config: Config, source: str = "") -> None:
    """Raises ConfigError when there is a problem, also with the files that the config names."""
    problems = [*check(config), *unreadable_files(config)]
    if problems:
        raise ConfigError(problems, source)


def _ranges(config: Config) -> Iterator[Problem]:
    for path, field, value in values(config):
        if field.range is not None and not field.range.has(value):
            yield Problem(path, f"{value} is not {field.range}", field.range.why)


def _kafka(config: Config) -> Iterator[Problem]:
    kafka = config.kafka
    if not kafka.brokers:
        yield Problem("kafka.brokers", "names no broker", "write at least one HOST:PORT")
    for index, broker in enumerate(kafka.brokers):
        if not is_host_port(broker):
            yield Problem(f"kafka.brokers[{index}]", f"{broker!r} is not HOST:PORT")
    if not kafka.group_id:
        yield Problem("kafka.group_id", "is empty")
    if kafka.security.sasl_mechanism and not kafka.security.protocol.startswith("sasl_"):
        yield Problem(
            "kafka.security.protocol",
            f"is {kafka.security.protocol}, but a SASL mechanism is set",
            "use sasl_ssl or sasl_plaintext",
        )
    if kafka.security.sasl_mechanism is not None:
        for key in ("sasl_username", "sasl_password_file"):
            if not getattr(kafka.security, key):
                yield Problem(f"kafka.security.{key}", f"is missing, but {kafka.security.sasl_mechanism} needs it")
    if kafka.group_protocol == "consumer":
        for key in (
            "partition.assignment.strategy",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "group.protocol.type",
        ):
            if key in kafka.consumer_options:
                yield Problem(
                    f"kafka.consumer_options.{key}",
                    "does not go with kafka.group_protocol: consumer",
                    "the broker decides it",
                )


def is_host_port(text: str, port_min: int = 1) -> bool:
    """`HOST:PORT`, `[IPV6]:PORT`."""
    match = BROKER.fullmatch(text)
    return match is not None and port_min <= int(match.group(2)) <= 65535 and is_host(match.group(1).strip("[]"))


def outputs(config: Config) -> dict[str, str]:
    """Topic -> the key path that makes it an output."""
    topics = config.kafka.topics
    named = {getattr(topics, key): f"kafka.topics.{key}" for key in OUTPUT_TOPIC_KEYS}
    for index, rule in enumerate(config.rules):
        named |= {topic: f"rules[{index}].topics" for topic in rule.topics if topic not in named}
    return named


def never_inputs(config: Config) -> dict[str, str]:
    """Outputs that may not be read, with the key path of each. Those that are only indexed are not produced again."""
    index_only = set(config.kafka.index_only_topics) - {config.kafka.topics.dead_letter}
    return {topic: path for topic, path in outputs(config).items() if topic not in index_only}


def loop_error(looped: dict[str, str]) -> ConfigError:
    """For topics of `never_inputs` that are read all the same, as the cluster says."""
    return ConfigError(
        [
            Problem(
                "kafka.input_topics",
                f"an expression reads {topic!r}, which is an output ({path})",
                "events would go round for ever; write one that does not match it",
            )
            for topic, path in looped.items()
        ]
    )


def _input_path(config: Config, topic: str) -> str:
    """The key path that makes a topic an input."""
    key = config.old_topics().get(topic)
    if key is not None:
        return f"kafka.topics.{key}"
    if topic in config.kafka.index_only_topics and topic not in config.full_inputs():
        return "kafka.index_only_topics"
    return "kafka.topics.observability_events" if config.kafka.input_topics is None else "kafka.input_topics"


def _old_topics(config: Config) -> Iterator[Problem]:
    """An old topic is one of its own: its messages are no events."""
    topics = config.kafka.topics
    named = config.kafka.input_topics
    events = (topics.observability_events,) if named is None else named
    for topic, key in config.old_topics().items():
        path = f"kafka.topics.{key}"
        if topic.startswith("^"):
            yield Problem(path, f"{topic!r} is a regular expression", "name one topic")
        if topic in (*events, *config.kafka.index_only_topics):
            yield Problem(path, f"{topic!r} is an input of events too", "name it in one of them")
    if topics.raw_data is not None and topics.raw_data == topics.processed_data:
        yield Problem("kafka.topics.processed_data", "is kafka.topics.raw_data too", "their messages differ")


def _topics(config: Config) -> Iterator[Problem]:
    written = outputs(config)
    names = config.kafka.topics.outputs()
    for key, name in zip(OUTPUT_TOPIC_KEYS, names, strict=True):
        if names.count(name) > 1 and written[name] != f"kafka.topics.{key}":
            yield Problem(f"kafka.topics.{key}", f"{name!r} is {written[name]} as well", "give each type its own topic")
    index_only = set(config.kafka.index_only_topics)
    yield from _old_topics(config)
    for count, most, path in (
        (len(config.input_topics()), INPUT_TOPICS_MAX, "kafka.input_topics"),
        (len(written), OUTPUT_TOPICS_MAX, "rules"),
    ):
        if count > most:
            yield Problem(path, f"{count} topics are more than {most}", "name fewer, or an expression")
            return
    for topic in config.input_topics():
        path = _input_path(config, topic)
        if topic.startswith("^"):
            if topic in index_only:
                yield Problem("kafka.index_only_topics", f"{topic!r} is no name", "write the names of the topics")
                continue
            try:
                pattern = TopicPattern(topic)
            except ValueError as error:
                mend = "librdkafka takes POSIX extended expressions"
                yield Problem(path, f"{topic!r} is no regular expression: {error}", mend)
                continue
            looped = [name for name in written if pattern.matches(name)]
        else:
            if not TOPIC_NAME.fullmatch(topic):
                yield Problem(path, f"{topic!r} is no topic name")
            # What is only indexed is not produced again, so a typed topic may be read so; dead letters never.
            allowed = topic in index_only and topic != config.kafka.topics.dead_letter
            looped = [topic] if topic in written and not allowed else []
        for name in looped:
            yield Problem(
                path,
                f"{topic!r} reads {name!r}, which is an output ({written[name]})",
                "events would go round for ever; to index it only, name it in kafka.index_only_topics",
            )
    for topic in sorted(index_only.intersection(config.full_inputs())):
        yield Problem("kafka.index_only_topics", f"{topic!r} is a full input too", "name it in one of them")
    if config.kafka.topics.dead_letter in names[: len(TYPED_TOPIC_KEYS)]:
        yield Problem("kafka.topics.dead_letter", "is a typed topic too", "give bad events a topic of their own")
    if not config.input_topics():
        yield Problem("kafka.input_topics", "names no topic", "write one, or null for topics.observability_events")
    for name, path in written.items():
        if not TOPIC_NAME.fullmatch(name):
            yield Problem(path, f"{name!r} is no topic name", "letters, digits, dot, underscore, dash; at most 249")


def redis_problems(redis: RedisConfig) -> list[Problem]:
    """What is wrong with how Redis is reached."""
    return list(_redis(redis))


def _redis(redis: RedisConfig) -> Iterator[Problem]:
    yield from _redis_url(redis.url)
    if redis.sentinel is not None:
        if not redis.sentinel.master:
            yield Problem("redis.sentinel.master", "is empty", "the name that the sentinels know it by")
        if not redis.sentinel.nodes:
            yield Problem("redis.sentinel.nodes", "names no sentinel", "write at least one HOST:PORT")
        for index, node in enumerate(redis.sentinel.nodes):
            if not is_host_port(node):
                yield Problem(f"redis.sentinel.nodes[{index}]", f"{node!r} is not HOST:PORT")


def _redis_url(url: str) -> Iterator[Problem]:
    """The URL is never repeated: it may hold a password, wherever the operator put it."""
    try:
        named = read_url(url)
    except BadUrl as error:
        # An @ anywhere: an unescaped slash in a password ends what is taken for the host.
        if "cluster" not in error.what and ("@" in url or "user name" in error.what):
            yield Problem("redis.url", "holds a user name or password", CREDENTIALS_MEND)
        else:
            yield Problem("redis.url", error.what, error.mend)
        return
    if "@" in url or named.username or named.password:
        yield Problem("redis.url", "holds a user name or password", CREDENTIALS_MEND)


def _http(config: Config) -> Iterator[Problem]:
    listen = config.http.listen
    if listen is not None and not listen.startswith("/") and not is_host_port(listen, port_min=0):
        yield Problem("http.listen", f"{listen!r} is neither HOST:PORT nor the path of a socket", "or null for none")


def match_problems(match: MatchConfig, path: str) -> list[Problem]:
    """What is wrong with a match that stands alone, such as a tap's."""
    return list(_match(match, path))


def _rule_topics(config: Config) -> Iterator[Problem]:
    copied = {topic for rule in config.rules if rule.action == "copy" for topic in rule.topics}
    routed_count = max((len(rule.topics) for rule in config.rules if rule.action == "route"), default=0)
    # What one rule does too much is named with the rule.
    if len(copied) + routed_count > RULE_TOPICS_MAX >= max((len(rule.topics) for rule in config.rules), default=0):
        yield Problem(
            "rules",
            f"may send one event to {len(copied) + routed_count} topics, which is more than {RULE_TOPICS_MAX}",
            "copy to fewer topics",
        )


def _pipeline(config: Config) -> Iterator[Problem]:
    pipeline = config.pipeline
    if pipeline.in_flight_events_max < pipeline.batch_events_max:
        yield Problem(
            "pipeline.in_flight_events_max",
            f"{pipeline.in_flight_events_max} is less than one batch",
            f"pipeline.batch_events_max is {pipeline.batch_events_max}",
        )
    # Payload, two SETs with it, and the record's margin.
    giant_bytes = 3 * pipeline.event_bytes_max + RECORD_MARGIN_BYTES
    if giant_bytes > held_bytes_max(config):
        yield Problem(
            "pipeline.memory_limit_mib",
            f"{pipeline.memory_limit_mib} MiB hold not one event of "
            f"pipeline.event_bytes_max ({pipeline.event_bytes_max})",
            "raise the one or lower the other",
        )


def _match(match: MatchConfig, path: str) -> Iterator[Problem]:
    for name in match.types:
        if TYPE_ALIASES.get(name, name) not in TYPE_NAMES:
            yield Problem(f"{path}.types", f"{name!r} is no type", f"known: {', '.join(TYPE_NAMES)}")
    for name in match.levels:
        if LEVEL_ALIASES.get(name.lower(), name.lower()) not in LEVEL_NAMES:
            yield Problem(f"{path}.levels", f"{name!r} is no level", f"known: {', '.join(LEVEL_NAMES)}")


def _rule(rule: RuleConfig, path: str) -> Iterator[Problem]:
    yield from _match(rule.match, f"{path}.match")
    needs_topics = rule.action in ("route", "copy")
    if needs_topics and not rule.topics:
        yield Problem(f"{path}.topics", f"is empty, but {rule.action} needs at least one topic")
    if rule.topics and not needs_topics:
        yield Problem(f"{path}.topics", f"means nothing with {rule.action}", "leave it out")
    if len(rule.topics) > RULE_TOPICS_MAX:
        yield Problem(f"{path}.topics", f"{len(rule.topics)} topics are more than {RULE_TOPICS_MAX}")
    if rule.action == "sample" and (rule.rate is None or not 0 <= rule.rate <= 1):
        yield Problem(f"{path}.rate", f"{rule.rate} is not from 0 to 1", "the share of events that is kept")
    if rule.rate is not None and rule.action != "sample":
        yield Problem(f"{path}.rate", f"means nothing with {rule.action}", "leave it out")
