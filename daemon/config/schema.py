"""The config. YAML text in, frozen Structs out, or a ConfigError with every problem at once. Reads its file only.

The names are those of config.yaml; each room gets its own section.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..errors import ConfigError, Problem
from ..events.rules import RuleConfig
from ..events.vocabulary import TYPED_TOPIC_KEYS

SEARCH_PATHS = ("config.yaml", "/etc/ingestd/config.yaml")
Seconds = int
Milliseconds = int


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the config."""


class TopicsConfig(Section):
    observability_events: str = "observability.events"
    logs: str = "observability.logs"
    metrics: str = "observability.metrics"
    alerts: str = "observability.alerts"
    traces: str = "observability.traces"
    health_checks: str = "observability.health"
    dead_letter: str = "observability.dead_letter"
    raw_data: str | None = None
    processed_data: str | None = None

    def outputs(self) -> tuple[str, ...]:
        """The typed topics in EventType's order, then the dead letters'."""
        return (*(getattr(self, key) for key in TYPED_TOPIC_KEYS), self.dead_letter)


class SecurityConfig(Section):
    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password_file: str | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] | None = None
    sasl_username: str | None = None
    sasl_password_file: str | None = None


class KafkaConfig(Section):
    brokers: tuple[str, ...] = ("localhost:9092",)
    client_id: str | None = None
    group_id: str = "ingestd"
    group_instance_id: str | None = None
    group_protocol: Literal["classic", "consumer"] = "classic"
    rack: str | None = None
    input_topics: tuple[str, ...] | None = None
    index_only_topics: tuple[str, ...] = ()
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    topics: TopicsConfig = TopicsConfig()
    partition_by: Literal["trace", "correlation", "none"] = "trace"
    timestamp: Literal["source", "now"] = "source"
    security: SecurityConfig = SecurityConfig()
    consumer_options: dict[str, str] = {}
    producer_options: dict[str, str] = {}


class SentinelConfig(Section):
    master: str
    nodes: tuple[str, ...]


class TlsConfig(Section):
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class RedisConfig(Section):
    url: str = "redis://localhost:6379/0"
    sentinel: SentinelConfig | None = None
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig = TlsConfig()
    reply_timeout_ms: Milliseconds = 5000
    wait_replicas: int = 0
    on_unavailable: Literal["block", "skip"] = "block"
    on_full: Literal["block", "skip"] = "block"


class StorageConfig(Section):
    layout: Literal["full", "compact"] = "full"
    types: tuple[Literal["log", "metric", "alert", "trace", "health"], ...] = (
        "log",
        "metric",
        "alert",
        "trace",
        "health",
    )
    indexes: tuple[Literal["correlation", "trace"], ...] = ("correlation", "trace")
    index_members_max: int = 10000
    events_ttl_s: Seconds = 86400
    logs_ttl_s: Seconds = 86400
    error_logs_ttl_s: Seconds = 604800
    traces_ttl_s: Seconds = 604800
    alerts_ttl_s: Seconds = 7776000


class EventStreamingConfig(Section):
    correlation_id_header: str = "X-Correlation-ID"
    trace_id_header: str = "X-Trace-ID"
    span_id_header: str = "X-Span-ID"
    service_name: str = "realtime-data-pipeline"
    enable_distributed_tracing: bool = True
    enable_correlation_tracking: bool = True
    trace_sampling_rate: float = 0.1


class ObservabilityConfig(Section):
    event_streaming: EventStreamingConfig = EventStreamingConfig()


class FloodConfig(Section):
    on_flood: Literal["warn", "pause"] = "warn"
    max_ratio: float = 0.5
    window_s: Seconds = 60
    min_events: int = 1000


class PipelineConfig(Section):
    batch_events_max: int = 2000
    in_flight_events_max: int = 10000
    event_bytes_max: int = 1048576
    memory_limit_mib: int = 192
    commit_interval_ms: Milliseconds = 1000
    drain_timeout_ms: Milliseconds = 10000
    delivery: Literal["at_least_once"] = "at_least_once"
    dead_letter: FloodConfig = FloodConfig()


class HealthConfig(Section):
    interval_s: Seconds = 10
    lag_warning_records: int = 100000
    lag_warning_s: Seconds = 60


class HttpConfig(Section):
    listen: str | None = "127.0.0.1:9464"


class ControlConfig(Section):
    socket: str | None = None


class LoggingConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "plain"] = "auto"


class Config(Section):
    kafka: KafkaConfig = KafkaConfig()
    redis: RedisConfig = RedisConfig()
    storage: StorageConfig = StorageConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    rules: tuple[RuleConfig, ...] = ()
    pipeline: PipelineConfig = PipelineConfig()
    health: HealthConfig = HealthConfig()
    http: HttpConfig = HttpConfig()
    control: ControlConfig = ControlConfig()
    logging: LoggingConfig = LoggingConfig()

    def full_inputs(self) -> list[str]:
        """Those whose events are routed, not only indexed."""
        named = self.kafka.input_topics
        return [self.kafka.topics.observability_events] if named is None else list(named)

    def input_topics(self) -> list[str]:
        """Everything that is subscribed to: names, or regular expressions that begin with ^."""
        inputs = self.full_inputs()
        return list(dict.fromkeys((*inputs, *self.kafka.index_only_topics, *self.legacy_topics())))

    def legacy_topics(self) -> dict[str, str]:
        """Old topics whose messages are turned into events: name -> its key in kafka.topics."""
        topics = self.kafka.topics
        named = {"raw_data": topics.raw_data, "processed_data": topics.processed_data}
        return {topic: key for key, topic in named.items() if topic is not None}


class UnsetVariable(Problem):
    """The config has a variable that the environment has not."""


class Substituted(str):
    """A scalar with variables in it. The key that it is for says whether it is a text, a number or a boolean."""

    def as_scalar(self) -> Any:
        """What YAML would make of it without quotes; never a list or a mapping."""
        from .yaml_file import as_scalar

        return as_scalar(str(self))


# Stands for a value that could not be known: its problem is reported already.
_UNKNOWN = object()
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")


def _substitute(value: Any, path: str, problems: list[Problem]) -> Any:
    """`${NAME}` and `${NAME:-default}` in parsed scalars, so that a value cannot change the structure."""
    if isinstance(value, dict):
        return {key: _substitute(item, f"{path}.{key}" if path else str(key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    before = len(problems)

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            return "$"
        found = os.environ.get(name, default)
        if found is None:
            problems.append(
                UnsetVariable(path, f"the environment has no {name}", f"set it, or write ${{{name}:-default}}")
            )
            return ""
        return found

    replaced = Substituted(_VARIABLE.sub(replace, value))
    return replaced if len(problems) == before else _UNKNOWN


def _walk(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """`value` as `kind`. Goes on after a problem, so that all are found in one reading."""
    if value is _UNKNOWN:
        return None
    arms = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    sections = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
    if sections:
        if value is None and NoneType in arms:
            return None
        return _walk_section(sections[0], {} if value is None else value, path, problems)
    if isinstance(value, list) and (lists := [arm for arm in arms if get_origin(arm) is tuple]):
        item_kind = get_args(lists[0])[0]
        return tuple(_walk(item_kind, item, f"{path}[{index}]", problems) for index, item in enumerate(value))
    if kind == dict[str, str] and isinstance(value, dict):
        return {str(key): _text(item, f"{path}.{key}", problems) for key, item in value.items()}
    if kind == dict[str, tuple[str, ...]] and isinstance(value, dict):
        listed = {f"{key}": item if isinstance(item, list) else [item] for key, item in value.items()}
        return {key: tuple(_text(item, f"{path}.{key}", problems) for item in items) for key, items in listed.items()}
    return _walk_leaf(kind, arms, value, path, problems)


def _wanted(arms: tuple[Any, ...]) -> str:
    """What a key takes, in words."""
    found = [_KIND_WORDS[get_origin(arm) or arm] for arm in arms if get_origin(arm) is not Literal]
    return " or ".join(found)


_KIND_WORDS = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    str: "a text",
    tuple: "a list",
    NoneType: "null",
}


def _walk_leaf(kind: Any, arms: tuple[Any, ...], value: Any, path: str, problems: list[Problem]) -> Any:
    words = [word for arm in arms if get_origin(arm) is Literal for word in get_args(arm)]
    if isinstance(value, Substituted):
        if str not in arms and not words:
            value = value.as_scalar()
        else:
            # `${RACK:-}` for a key that may be null: nothing was given.
            value = None if value == "" and NoneType in arms else str(value)
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.MsgspecError, ValueError):
        wanted = "" if words else f": it must be {_wanted(arms)}"
        mend = ""
        if words:
            near = difflib.get_close_matches(str(value), words, 1)
            mend = (f"did you mean {near[0]}? " if near else "") + f"one of {', '.join(words)}"
        elif isinstance(value, str) and any(get_origin(arm) is tuple for arm in arms):
            mend = f"write it as a list: [{value}]"
        problems.append(Problem(path, f"{value!r} does not fit{wanted}", mend))
        return None


def _text(value: Any, path: str, problems: list[Problem]) -> str:
    """A librdkafka option or a label: any scalar, as librdkafka and JSON write it."""
    if value is _UNKNOWN:
        return ""
    if value is None or not isinstance(value, (str, int, float)):
        problems.append(Problem(path, f"{value!r} is no single value", "write a text, a number, true or false"))
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _walk_section(kind: type[msgspec.Struct], value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        problems.append(Problem(path or "(top)", f"{value!r} is no mapping", "write its keys below it, indented"))
        return None
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    before = len(problems)
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(hints)}"
            problems.append(Problem(here, "unknown key", mend))
            continue
        found[key] = _walk(hints[key], item, here, problems)
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in found:
            problems.append(Problem(f"{path}.{field.name}" if path else field.name, "is missing"))
    return kind(**found) if len(problems) == before else None


def parse(text: str, source: str = "(text)") -> Config:
    """A config from YAML. Raises ConfigError with every problem of form; `config_check.check` finds those of sense."""
    # Only who reads a file needs PyYAML: the client library has configs without one.
    from .yaml_file import read_yaml

    problems: list[Problem] = []
    raw = read_yaml(text, source)
    config = _walk(Config, _substitute(raw, "", problems), "", problems)
    if problems:
        raise ConfigError(problems, source)
    assert isinstance(config, Config)
    return config


def find(path: str | None = None) -> Path:
    """The config file: `path`, else $INGESTD_CONFIG, ./config.yaml, /etc/ingestd/config.yaml."""
    named = path or os.environ.get("INGESTD_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError([Problem("(file)", f"{named} is not there", "give another with -c")], named)
        return Path(named)
    for candidate in map(Path, SEARCH_PATHS):
        if candidate.is_file():
            return candidate
    mend = "write one (config.yaml of the project shows every key) and give it with -c"
    raise ConfigError([Problem("(file)", f"none of {', '.join(SEARCH_PATHS)} is there", mend)])


def load(path: str | None = None) -> Config:
    """The config of a file. Raises ConfigError."""
    file = find(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("(file)", f"{file} cannot be read: {error}")], str(file)) from error
    return parse(text, str(file))


def control_path(config: Config) -> str | None:
    """Where the control socket is: the config's, else in the runtime directory that systemd gives, else nowhere."""
    if config.control.socket is not None:
        return config.control.socket
    folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return f"{folder}/control.sock" if folder else None


def secret_path(name: str) -> Path:
    """Where a `*_file` key points: absolute, or relative to $CREDENTIALS_DIRECTORY when systemd gives one."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), name)


def read_secret(name: str) -> str:
    """The secret in a file, without the line end that editors leave."""
    return secret_path(name).read_text(encoding="utf-8").rstrip("\r\n")


def unreadable_files(section: Section, path: str = "") -> Iterator[Problem]:
    """Every `*_file` that is named and can't be read, before anything is built on it."""
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        here = f"{path}.{field.name}" if path else field.name
        if isinstance(value, Section):
            yield from unreadable_files(value, here)
        elif field.name.endswith("_file") and value is not None:
            try:
                secret_path(value).open("rb").close()
                if field.name.endswith("password_file") and not read_secret(value):
                    yield Problem(here, f"{secret_path(value)} is empty", "write the password into it")
            except OSError as error:
                mend = "relative names are looked for in $CREDENTIALS_DIRECTORY"
                yield Problem(here, f"{secret_path(value)} can't be read: {error.strerror}", mend)
            except UnicodeDecodeError:
                yield Problem(here, f"{secret_path(value)} is no UTF-8 text", "a password is written as text")


def keys(section: type[Section] = Config, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key path with its default, for the test that holds config.yaml equal to this file."""
    for field in msgspec.structs.fields(section):
        here = f"{path}.{field.name}" if path else field.name
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from keys(field.type, here)
        else:
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            yield here, default
