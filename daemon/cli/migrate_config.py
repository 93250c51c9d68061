"""`ingestd migrate-config`: turns a config of the pipeline before ingestd into a new one, and says what is left out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import click
import yaml

from ..config import checks, config_source
from ..config.conversion import UnsetVariable
from ..config.keys import keys
from ..config.loading import parse
from ..config.nodes import Mapping, Node, Scalar, Sequence
from ..config.schema import Config, TopicsConfig
from ..config.yaml_file import read_yaml
from ..errors import ConfigError, IngestdError, Problem
from .shared.messages import note
from .shared.output import write_data

# Old key path -> new one, where the name has changed. Those that are spelt as they were need no line.
RENAMED: Final = {
    "kafka.bootstrap_servers": "kafka.brokers",
    "kafka.consumer_group": "kafka.group_id",
    "kafka.consumer.group_id": "kafka.group_id",
    "kafka.consumer_group_id": "kafka.group_id",
    "kafka.group": "kafka.group_id",
    "kafka.consumer.auto_offset_reset": "kafka.auto_offset_reset",
    "kafka.topics.events": "kafka.topics.observability_events",
    "kafka.topics.health": "kafka.topics.health_checks",
    "kafka.topics.dlq": "kafka.topics.dead_letter",
    "kafka.topics.dead_letters": "kafka.topics.dead_letter",
    "kafka.security_protocol": "kafka.security.protocol",
    "kafka.sasl.mechanism": "kafka.security.sasl_mechanism",
    "kafka.sasl.username": "kafka.security.sasl_username",
    "kafka.username": "kafka.security.sasl_username",
    "redis.user": "redis.username",
    "observability.event_streaming.sampling_rate": "observability.event_streaming.trace_sampling_rate",
    "log.level": "logging.level",
    "log_level": "logging.level",
}
# Old key path of a secret -> the new key of the file that holds it.
SECRETS: Final = {
    "redis.password": "redis.password_file",
    "kafka.password": "kafka.security.sasl_password_file",
    "kafka.sasl.password": "kafka.security.sasl_password_file",
}
# Old values that have another word now.
WORDS: Final = {
    "logging.level": {"warn": "warning", "trace": "debug", "fatal": "error", "panic": "error"},
    "logging.format": {"text": "plain", "console": "plain"},
}
LOWER_CASE: Final = ("kafka.security.protocol", "kafka.auto_offset_reset", "logging.level", "logging.format")
REDIS_PLACE: Final = ("redis.address", "redis.addr", "redis.host", "redis.port", "redis.db", "redis.database")
KAFKA_PORT, REDIS_PORT = 9092, 6379
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key path that has a value. A list is one value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[key] = value


def remove(tree: dict[str, Any], path: str) -> None:
    head, _, rest = path.partition(".")
    if rest and isinstance(tree.get(head), dict):
        remove(tree[head], rest)
        if not tree[head]:
            del tree[head]
    else:
        tree.pop(head, None)


class Migration:
    """One config on its way. `new` is the tree that is written; nothing of a secret gets into it."""

    def __init__(self, old: dict[str, Any], old_name: str, secrets_folder: str) -> None:
        self.old = dict(leaves(old))
        self.old_name = old_name
        self.secrets_folder = secrets_folder
        self.new: dict[str, Any] = {}
        self.left_out: list[Problem] = []
        self.notes: list[str] = []
        self.to_mend: list[Problem] = []
        self._known = {path for path, _ in keys(Config)}

    def run(self) -> None:
        self._move_redis()
        for path, value in self.old.items():
            if path in REDIS_PLACE or (path == "redis.url" and value):
                continue
            if path in SECRETS:
                self._move_secret(path, value)
            else:
                self._move(path, value)
        self._check()

    def _leave(self, path: str, why: str) -> None:
        self.left_out.append(Problem(path, why))

    def _move(self, path: str, value: Any) -> None:
        new_path = RENAMED.get(path, path)
        if new_path.startswith("observability.event_streaming.topics."):
            new_path = f"kafka.topics.{new_path.rsplit('.', 1)[1]}"
            new_path = RENAMED.get(new_path, new_path)
        if new_path == "kafka.brokers":
            put(self.new, new_path, brokers(value))
        elif new_path not in self._known:
            of_topics = new_path.startswith("kafka.topics.")
            known = f"topics have the keys {', '.join(TopicsConfig.__struct_fields__)}"
            self._leave(path, known if of_topics else "there is no such key any more")
        elif value is None or value == "" or value == {}:
            self._leave(path, "is empty")
        else:
            put(self.new, new_path, in_new_words(new_path, value))

    def _move_secret(self, path: str, value: Any) -> None:
        if value is None or value == "":
            return
        new_path = SECRETS[path]
        file = f"{self.secrets_folder}/{path.replace('.', '-')}"
        put(self.new, new_path, file)
        variable = VARIABLE.fullmatch(str(value))
        source = (
            f'printf %s "${{{variable[1]}}}"' if variable else f"ingestd migrate-config --secret {path} {self.old_name}"
        )
        self.notes.append(f"{new_path} names a file; write it by\n      (umask 077; {source} > {file})")

    def _move_redis(self) -> None:
        old = self.old
        url = old.get("redis.url") or old.get("redis.address") or old.get("redis.addr")
        host, port = old.get("redis.host"), old.get("redis.port")
        if url is None and host is None and port is None:
            for key in ("redis.db", "redis.database"):
                if old.get(key) not in (None, "", "0"):
                    self._leave(key, "stands without an address")
            return
        address = str(url if url is not None else f"{host or 'localhost'}:{port or REDIS_PORT}")
        database = old.get("redis.db", old.get("redis.database"))
        if isinstance(url, list) or "," in address:
            self._leave("redis.address", "names more than one server; see redis.sentinel")
            return
        if "://" in address:
            parts = urlsplit(address)
            scheme, where = parts.scheme, parts.netloc.rpartition("@")[2]
            database = parts.path.strip("/") or database
            if parts.username:
                put(self.new, "redis.username", unquote(parts.username))
            if parts.password:
                self.old["redis.password"] = unquote(parts.password)
        else:
            scheme, where = ("rediss" if str(old.get("redis.tls")).lower() == "true" else "redis"), address
        where = f"localhost{where}" if where.startswith(":") else where
        where = where if re.search(r":\d+$|\}$", where) else f"{where}:{REDIS_PORT}"
        put(self.new, "redis.url", f"{scheme}://{where}/{database or 0}")

    def _check(self) -> None:
        """What does not fit its key is left out; what makes no sense together is named."""
        for _ in range(2):
            try:
                self.to_mend = checks.check(parse(self.text()))
                return
            except ConfigError as error:
                unset = [problem for problem in error.problems if isinstance(problem, UnsetVariable)]
                if len(unset) == len(error.problems):
                    # The places are those of the new text, which nobody has seen yet.
                    self.notes += [f"{problem.path}: {problem.what}; so the rest was not checked" for problem in unset]
                    return
                for problem in error.problems:
                    if problem not in unset:
                        path = problem.path.partition("[")[0]
                        remove(self.new, path)
                        # What a value was is not said: it may be a secret under another name.
                        self._leave(path, "its value does not fit the key of this name")

    def text(self) -> str:
        return yaml.dump(self.new, Dumper=_Dumper, sort_keys=False, allow_unicode=True) if self.new else "{}\n"

    def report(self) -> Iterator[str]:
        for problem in self.left_out:
            yield f"left out  {problem}"
        for text in self.notes:
            yield f"to do     {text}"
        for problem in self.to_mend:
            yield f"to mend   {problem}"


def brokers(value: Any) -> list[str]:
    """A list, or one text with commas; a host without a port gets Kafka's."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [str(value)]
    found = [str(word).strip() for word in words if str(word).strip()]
    return [word if re.search(r":\d+$|\}$", word) else f"{word}:{KAFKA_PORT}" for word in found]


def in_new_words(path: str, value: Any) -> Any:
    if isinstance(value, str):
        kind = type(value)
        value = value.lower() if path in LOWER_CASE else value
        value = WORDS.get(path, {}).get(value, value)
        # A dollar was a dollar; now two of them are one.
        return kind(value.replace("$$", "$$$$"))
    return value


class Plain(str):
    """A scalar that stood without quotes: its new key says what it is, so it is written again as it was."""


class _Dumper(yaml.SafeDumper):
    """Writes `Plain` without quotes."""


def _represent_plain(dumper: _Dumper, text: Plain) -> yaml.Node:
    return dumper.represent_scalar(dumper.resolve(yaml.ScalarNode, str(text), (True, False)), str(text))


_Dumper.add_representer(Plain, _represent_plain)


def value_of(node: Node) -> Any:
    """Mappings, lists and texts; None for null."""
    if isinstance(node, Mapping):
        return {key: value_of(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [value_of(item) for item in node.items]
    assert isinstance(node, Scalar)
    return None if node.is_null else Plain(node.text) if node.plain else node.text


def read(path: Path) -> dict[str, Any]:
    try:
        node = read_yaml(config_source.read_text(str(path)), str(path))
    except ConfigError as error:
        # What is wrong there may be the password's own text, so only its place is said.
        problem = error.problems[0]
        line = problem.place.removeprefix(str(path)).split(":")[1:2]
        what = f"line {line[0]} is not YAML" if line else "it is no YAML text"
        raise IngestdError(f"{path} can't be read: {what}") from None
    if not isinstance(node, Mapping):
        raise IngestdError(f"{path} is no config: its top is no mapping")
    tree: dict[str, Any] = value_of(node)
    return tree


@click.command("migrate-config")
@click.argument("old", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the new config there; it may not exist.")
@click.option(
    "--secrets", default="/etc/ingestd", show_default=True, metavar="FOLDER", help="Where files of passwords will be."
)
@click.option("--secret", "secret", metavar="KEY", help="Print this one secret of the old config, and nothing else.")
def command(old: Path, output: Path | None, secrets: str, secret: str | None) -> int:
    """Turn a config of the pipeline before ingestd into a new one.

    The new config goes to standard output. Standard error lists what was left out, and the commands that write
    passwords to files: they are never in the new config. Exit 1 when something of it is still to be mended.
    """
    migration = Migration(read(old), str(old), secrets.rstrip("/"))
    migration.run()
    if secret is not None:
        value = migration.old.get(secret) if secret in SECRETS else None
        if not value:
            raise IngestdError(f"{old} has no secret {secret}; known are {', '.join(SECRETS)}")
        write_data(str(value))
        return 0
    text = f"# Made by `ingestd migrate-config` from {old.name}. Then: ingestd validate.\n{migration.text()}"
    if output is None:
        write_data(text)
    else:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise IngestdError(f"{output} can't be written: {error.strerror}") from error
    for line in migration.report():
        note(line)
    return 1 if migration.to_mend else 0
