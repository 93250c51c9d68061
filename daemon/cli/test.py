"""`ingestd test`: events as JSON lines in; where each would go, and its Redis keys, out. Needs no Kafka, no Redis."""

import json
import time
from collections.abc import Iterator
from typing import IO, Any

import click
from rich.console import Console

from ingestd import config_check, rules
from ingestd.cli import config_option
from ingestd.config import Config, load
from ingestd.model import FAULT_MESSAGES, Fault, Verdict

BATCH_EVENTS = 500


def commands(resp: bytes) -> Iterator[list[bytes]]:
    """The commands of RESP bytes as lists of words."""
    at = 0
    while at < len(resp):
        end = resp.index(b"\r\n", at)
        count, at, words = int(resp[at + 1:end]), end + 2, []
        for _ in range(count):
            end = resp.index(b"\r\n", at)
            size = int(resp[at + 1:end])
            words.append(resp[end + 2:end + 2 + size])
            at = end + 4 + size
        yield words


def redis_keys(words: list[list[bytes]]) -> list[str]:
    """What commands do, as `KEY for SECONDS s` and `INDEX -> MEMBER`; repeated EXPIREs are left out."""
    told = []
    for word in words:
        name = word[1].decode("utf-8", "replace")
        if word[0] == b"SET":
            told.append(f"{name} for {word[4].decode()} s")
        elif word[0] == b"ZADD":
            told.append(f"{name} -> {', '.join(member.decode('utf-8', 'replace') for member in word[3::2])}")
    return told


def judge(config: Config, lines: list[bytes], topic: str, first_number: int) -> list[dict[str, Any]]:
    """One dict an event, through the daemon's own fast path."""
    from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
    compiled, topics = rules.compile_rules(config.rules, config.kafka.topics)
    batch = Batch(max(1, len(lines)))
    now_s = int(time.time())
    index_only = topic in config.kafka.index_only_topics
    batch.load([(line, now_s * 1000, topic, 0, 0, first_number + n, None, index_only) for n, line in enumerate(lines)])
    process_batch(batch, RouteTable(compiled, **rules.table_arguments(config)), IndexCache(), now_s)
    all_commands, begin, told = list(commands(batch.resp())), 0, []
    sends = batch.sends()
    for number, ((verdict, fault), end) in enumerate(zip(batch.verdicts(), batch.reply_ends(), strict=True)):
        own = [send for send in sends if send[0] == number]
        key = next((send[2] for send in own if send[2]), None)
        told.append({
            "line": first_number + number + 1, "verdict": Verdict(verdict).name.lower(),
            "fault": None if fault == Fault.NONE else {"class": Fault(fault).name.lower(), "why": FAULT_MESSAGES[Fault(fault)]},
            "topics": [topics.names[send[1]] for send in own], "key": key.decode("utf-8", "replace") if key else None,
            "redis": redis_keys(all_commands[begin:end]),
        })
        begin = end
    return told


def show(row: dict[str, Any], console: Console) -> None:
    colour = {"routed": "green", "dropped": "yellow", "dead": "red"}[row["verdict"]]
    console.print(f"line {row['line']}: [{colour}]{row['verdict']}[/{colour}]", highlight=False)
    texts = [f"why    {row['fault']['class']}: {row['fault']['why']}"] if row["fault"] else []
    texts += [f"topic  {topic}" for topic in row["topics"]]
    texts += [f"key    {row['key']}"] if row["key"] else []
    texts += [f"redis  {text}" for text in row["redis"]]
    for text in texts:
        console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)


@click.command("test")
@config_option
@click.argument("events", type=click.File("rb"), default="-")
@click.option("--topic", help="The input topic that they come from. The first one when left out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(config_path: str | None, events: IO[bytes], topic: str | None, as_json: bool) -> int:
    """Show where events would go: EVENTS is a file of JSON lines, or standard input.

    For each: routed, dropped or dead; the topics, the record's key, and what Redis would be told. Exit 1 when one of
    them would be a dead letter.
    """
    config = load(config_path)
    config_check.ensure(config)
    source = topic or next((name for name in config.input_topics() if not name.startswith("^")), "input")
    lines = [line.rstrip(b"\r\n") for line in events if line.strip()]
    console, dead = Console(), False
    for begin in range(0, len(lines), BATCH_EVENTS):
        for row in judge(config, lines[begin:begin + BATCH_EVENTS], source, begin):
            dead = dead or row["verdict"] == "dead"
            if as_json:
                print(json.dumps(row))
            else:
                show(row, console)
    return 1 if dead else 0
