"""`ingestd test`: where events would go. Events as JSON lines in; verdict, topics and Redis keys out, by the real core.

Each event is a batch of its own, so that the index cache hides nothing and every byte for Redis belongs to it.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import msgspec

from .._fastpath import Batch, IndexCache, RouteTable, process_batch
from ..config import checks
from ..config.loading import load
from ..config.schema import Config
from ..errors import ConfigError
from ..events.old_topics import Converter
from ..events.rules import RuleConfig, compile_rules
from ..events.vocabulary import FAULT_MESSAGES, Action, Fault, Verdict
from ..pipeline.route_table import table_arguments
from . import config_option
from .shared import streams
from .shared.messages import printable
from .shared.output import Output, write_json_line

VERDICT_STYLES = {"routed": "green", "dropped": "yellow", "dead": "red"}
ENDING_ACTIONS = ("drop", "keep", "route")
# It is emptied before each event.
CACHE_SLOTS = 64


def commands(data: bytes) -> Iterator[list[bytes]]:
    """The commands of RESP bytes that the core itself wrote: *COUNT, then $SIZE and a word each."""
    at = 0

    def number() -> int:
        nonlocal at
        end = data.index(b"\r\n", at)
        value, at = int(data[at + 1 : end]), end + 2
        return value

    while at < len(data):
        words = []
        for _ in range(number()):
            size = number()
            words.append(data[at : at + size])
            at += size + 2
        yield words


def redis_effects(data: bytes) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """(TTL by key, index entries with the TTL of their index)."""
    keys: dict[str, int] = {}
    entries: list[dict[str, Any]] = []
    ttls: dict[str, int] = {}
    for name, key_bytes, *rest in commands(data):
        key = key_bytes.decode()
        if name == b"SET":  # SET key value EX seconds
            keys[key] = int(rest[2])
        elif name == b"ZADD":  # ZADD key (score member)...
            entries += [
                {"key": key, "member": member.decode(), "score_ms": int(score)}
                for score, member in zip(rest[::2], rest[1::2], strict=True)
            ]
        elif name == b"EXPIRE":
            ttls[key] = int(rest[0])
    return keys, [entry | {"ttl_s": ttls.get(entry["key"])} for entry in entries]


class Tester:
    """One config's core. Takes events one by one."""

    def __init__(self, config: Config, topic: str) -> None:
        self.topic = topic
        self.index_only = topic in config.kafka.index_only_topics
        self.rules = config.rules
        service = config.observability.event_streaming.service_name
        self.convert = Converter(config.old_topics(), service, config.pipeline.event_bytes_max)
        settings = table_arguments(config)
        compiled, self.topics = compile_rules(config.rules, config.kafka.topics.outputs())
        self.table = RouteTable(compiled, **settings)
        # A rule alone, made to drop what it matches, tells whether it matches. `sample` stays as it is: then it tells
        # whether the event is sampled away.
        self.matchers = [
            RouteTable([msgspec.structs.replace(rule, action=Action.DROP, topics=())], **settings) for rule in compiled
        ]
        self.samplers = [RouteTable([rule], **settings) for rule in compiled]
        self.cache = IndexCache(CACHE_SLOTS)
        self.batch = Batch(1)

    def process(self, table: RouteTable, payload: bytes, offset: int, now_s: float) -> Batch:
        self.cache.clear()
        self.batch.load([(payload, int(now_s * 1000), self.topic, 0, 0, offset, None, self.index_only)])
        self.convert(self.batch, lambda index: self.topic)
        process_batch(self.batch, table, self.cache, int(now_s))
        return self.batch

    def drops(self, table: RouteTable, payload: bytes, offset: int, now_s: float) -> bool:
        return self.process(table, payload, offset, now_s).verdicts()[0][0] == Verdict.DROPPED

    def matching_rules(self, payload: bytes, offset: int, now_s: float) -> Iterator[RuleConfig]:
        """The rules that a good event meets, in their order, up to the one that ends the walk."""
        for rule, matcher, sampler in zip(self.rules, self.matchers, self.samplers, strict=True):
            if not self.drops(matcher, payload, offset, now_s):
                continue
            yield rule
            if rule.action in ENDING_ACTIONS or (
                rule.action == "sample" and self.drops(sampler, payload, offset, now_s)
            ):
                return

    def test(self, payload: bytes, offset: int, now_s: float) -> dict[str, Any]:
        """What would become of one event, as the JSON output has it."""
        batch = self.process(self.table, payload, offset, now_s)
        verdict, fault = batch.verdicts()[0]
        sends = [
            {"topic": self.topics.names[topic], "key": key.decode() if key is not None else None}
            for _, topic, key, *_ in batch.sends()
        ]
        keys, indexes = redis_effects(batch.resp())
        result = {
            "verdict": Verdict(verdict).name.lower(),
            "fault": Fault(fault).name.lower() if fault else None,
            "reason": FAULT_MESSAGES[Fault(fault)] if fault else None,
            "rules": [],
            "topics": sends,
            "keys": [{"key": key, "ttl_s": ttl_s} for key, ttl_s in keys.items()],
            "indexes": indexes,
        }
        if not fault:
            result["rules"] = [rule.name for rule in self.matching_rules(payload, offset, now_s)]
        return result


def quoted(text: str) -> str:
    """An id may hold line ends and what a terminal takes for commands: then it is shown as JSON writes it."""
    return text if text.isprintable() else json.dumps(text)


def show(console: Output, result: dict[str, Any]) -> None:
    """One event in a few lines."""
    line = console.line
    verdict = result["verdict"]
    reason = f"  {result['fault']}: {result['reason']}" if result["fault"] else ""
    line(f"line {result['line']}  ", (verdict, VERDICT_STYLES[verdict]), reason)
    if result["rules"]:
        line("    rules  ", ", ".join(result["rules"]))
    for send in result["topics"]:
        key = "without a key" if send["key"] is None else f"key {quoted(send['key'])}"
        line("    topic  ", (send["topic"], "bold"), f"  {key}")
    for row in result["keys"]:
        line("    key    ", quoted(row["key"]), f"  {row['ttl_s']} s")
    for row in result["indexes"]:
        line("    index  ", quoted(row["key"]), f"  {row['ttl_s']} s  -> {quoted(row['member'])}")


def default_topic(config: Config) -> str:
    """The first input that is a name."""
    named = [topic for topic in config.input_topics() if not topic.startswith("^")]
    return named[0] if named else config.kafka.topics.observability_events


@click.command("test")
@config_option
@click.argument("events", type=click.File("rb"), default="-", metavar="[FILE|-]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each event.")
@click.option("--topic", metavar="NAME", help="Take the events as if they came from it. Else the first input topic.")
def command(config_path: str | None, events: BinaryIO, as_json: bool, topic: str | None) -> int:
    """Show where events would go, without Kafka or Redis.

    Events are JSON lines, from FILE or standard input. For each: whether it is routed, dropped by a rule or a dead
    letter and why; the rules that it meets; the topics, the Redis keys and the index entries with their times to live.
    """
    config = load(config_path)
    problems = checks.check(config)
    if problems:
        raise ConfigError(problems)
    tester = Tester(config, topic or default_topic(config))
    console = Output()
    totals: Counter[str] = Counter()
    for index, text in enumerate(events):
        payload = text.rstrip(b"\r\n")
        if not payload.strip():
            continue
        result = {"line": index + 1} | tester.test(payload, index, time.time())
        totals[result["verdict"]] += 1
        if as_json:
            write_json_line(result)
        else:
            show(console, result)
            streams.flush()
    if not as_json:
        words = ", ".join(
            f"{totals[name]} {word}"
            for name, word in (("routed", "routed"), ("dropped", "dropped by a rule"), ("dead", "dead letters"))
        )
        console.line(printable(f"{sum(totals.values())} events as from {tester.topic}: {words}"))
    return 0
