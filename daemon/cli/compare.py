"""`ingestd compare`: counts and hashes old topics against new ones for a window of time, and says what is missing.

A hash does not depend on the order: it is the sum of the hashes of all values. Two ways of comparing:

- an old topic that the daemon turns into events (kafka.topics.raw_data, processed_data): every message must stand in
  `data` of the event that bears its place, or be a dead letter. Copies of an event count once.
- any other pair: every value must stand as often in the one as in the other.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import click
import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .._fastpath import UNREADABLE
from ..config import checks
from ..config.kafka_consumers import compare_options
from ..config.loading import load
from ..config.schema import Config
from ..errors import IngestdError
from ..events.old_topics import PROCESSED, RAW
from ..events.vocabulary import DEAD_LETTER_HEADER_PREFIX, EventType
from . import config_option
from .shared.messages import printable
from .shared.output import Output, write_json
from .topics import CLIENT_ERRORS, UNIT_MS, ClusterError, no_answer

ANSWER_TIMEOUT_S: Final = 10.0
# No record for so long, though an end was not reached: the cluster is not well.
SILENCE_S: Final = 30.0
READ_AT_ONCE: Final = 5000
SHOWN_MAX: Final = 10
HASH_BYTES: Final = 16
HASH_MASK: Final = (1 << 8 * HASH_BYTES) - 1
JSON_SPACE: Final = b" \t\r\n"
TYPED: Final = {RAW: EventType.LOG.topic_key, PROCESSED: EventType.ALERT.topic_key}


class Window(NamedTuple):
    """From `since_ms` up to `until_ms`; `slack_ms`: how far records may lie out of their order in time."""

    since_ms: int
    until_ms: int
    slack_ms: int

    def has(self, message: Message) -> bool:
        return self.since_ms <= message.timestamp()[1] < self.until_ms


class Tally:
    """How many values, and the hash of all; the same by key."""

    def __init__(self) -> None:
        self.count = self.hash = 0
        self.keys: dict[str, list[int]] = {}

    def add(self, key: str, value: bytes) -> None:
        number = int.from_bytes(blake2b(value, digest_size=HASH_BYTES).digest(), "big")
        self.count += 1
        self.hash = (self.hash + number) & HASH_MASK
        row = self.keys.setdefault(key, [0, 0])
        row[0] += 1
        row[1] = (row[1] + number) & HASH_MASK

    def as_dict(self, topic: str) -> dict[str, Any]:
        return {"topic": topic, "count": self.count, "hash": f"{self.hash:0{2 * HASH_BYTES}x}"}


class Places:
    """Which records of a topic were seen: a bit each, so that a window of a hundred millions fits."""

    def __init__(self) -> None:
        self._bits: dict[int, tuple[int, bytearray]] = {}

    def add(self, partition: int, offset: int) -> bool:
        """False when it was there already."""
        first, bits = self._bits.get(partition, (offset // 8, bytearray()))
        at = offset // 8 - first
        if at < 0:  # what came first was not the oldest
            bits[:0] = bytes(-at)
            first, at = offset // 8, 0
        elif at >= len(bits):
            bits.extend(bytes(at + 1 - len(bits)))
        self._bits[partition] = (first, bits)
        known = bits[at] >> offset % 8 & 1
        bits[at] |= 1 << offset % 8
        return not known

    def has(self, partition: int, offset: int) -> bool:
        first, bits = self._bits.get(partition, (0, bytearray()))
        at = offset // 8 - first
        return 0 <= at < len(bits) and bool(bits[at] >> offset % 8 & 1)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for partition, (first, bits) in sorted(self._bits.items()):
            for at, byte in enumerate(bits):
                if byte:
                    yield from ((partition, 8 * (first + at) + bit) for bit in range(8) if byte >> bit & 1)


class Reader:
    """Reads windows of topics. Runs on: the caller's thread; every wait has a bound."""

    def __init__(self, config: Config, progress: Progress) -> None:
        self._options = compare_options(config.kafka)
        self._progress = progress

    def read(self, topic: str, since_ms: int, until_ms: int | None) -> Iterator[Message]:
        """From the first record that is not older than `since_ms` up to the first that is not older than `until_ms`,
        or to the end of now."""
        # One each time: a consumer may still hold the news that a partition ended.
        self._consumer = Consumer(self._options)
        try:
            yield from self._read(topic, since_ms, until_ms)
        finally:
            self._consumer.close()

    def _read(self, topic: str, since_ms: int, until_ms: int | None) -> Iterator[Message]:
        try:
            starts = self._offsets(topic, since_ms)
            ends = self._ends(topic) if until_ms is None else self._offsets(topic, until_ms)
        except CLIENT_ERRORS as error:
            raise ClusterError(f"{topic}: {no_answer(error)}") from None
        left = {partition: ends[partition] for partition, start in starts.items() if start < ends[partition]}
        total = sum(end - starts[partition] for partition, end in left.items())
        task = self._progress.add_task(topic, total=total)
        self._consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in left])
        done = 0
        while left:
            first = self._consumer.poll(SILENCE_S)
            if first is None:
                raise ClusterError(f"{topic}: no record within {SILENCE_S:.0f} s, though its end was not reached")
            # `consume` alone would wait its whole time-out to fill the list.
            for message in (first, *self._consumer.consume(READ_AT_ONCE, 0)):
                partition, error = message.partition(), message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise ClusterError(f"{topic}: {error.str()}")
                if error is None and message.offset() < ends[partition]:
                    done += 1
                    yield message
                # The end of the log comes before `ends` where the last offsets are markers of transactions.
                if error is not None or message.offset() + 1 >= ends[partition]:
                    left.pop(partition, None)
            self._progress.update(task, completed=done)
        self._progress.update(task, completed=total)

    def _partitions(self, topic: str) -> list[int]:
        found = self._consumer.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return list(found.partitions)

    def _ends(self, topic: str) -> dict[int, int]:
        places = [TopicPartition(topic, partition) for partition in self._partitions(topic)]
        return {p.partition: self._consumer.get_watermark_offsets(p, timeout=ANSWER_TIMEOUT_S)[1] for p in places}

    def _offsets(self, topic: str, time_ms: int) -> dict[int, int]:
        asked = [TopicPartition(topic, partition, max(0, time_ms)) for partition in self._partitions(topic)]
        found = self._consumer.offsets_for_times(asked, timeout=ANSWER_TIMEOUT_S)
        ends = self._ends(topic)
        for row in found:
            if row.error is not None:
                raise KafkaException(row.error)
        # Below 0: no record is so young.
        return {row.partition: row.offset if row.offset >= 0 else ends[row.partition] for row in found}


class Comparison:
    """One pair of topics, and what was found."""

    def __init__(self, old: str, new: str) -> None:
        self.old_topic, self.new_topic = old, new
        self.old, self.new = Tally(), Tally()
        self.copies = self.dead_letters = self.missing_count = 0
        self.missing: list[str] = []

    @property
    def equal(self) -> bool:
        return (self.old.count, self.old.hash, self.missing_count) == (self.new.count, self.new.hash, 0)

    def different_keys(self) -> list[str]:
        if self.equal:
            return []
        return sorted(k for k in self.old.keys | self.new.keys if self.old.keys.get(k) != self.new.keys.get(k))

    def as_dict(self) -> dict[str, Any]:
        keys = self.different_keys()
        return {
            "old": self.old.as_dict(self.old_topic),
            "new": self.new.as_dict(self.new_topic),
            "equal": self.equal,
            "copies": self.copies,
            "dead_letters": self.dead_letters,
            "missing_count": self.missing_count,
            "missing": self.missing,
            "different_key_count": len(keys),
            "different_keys": keys[:SHOWN_MAX],
        }

    def show(self, console: Output) -> None:
        verdict = ("equal", "green") if self.equal else ("different", "bold red")
        console.line(printable(f"{self.old_topic} -> {self.new_topic}: "), verdict)
        for name, tally in (("old", self.old), ("new", self.new)):
            console.line(f"  {name}  {tally.count:>12,}  {tally.hash:0{2 * HASH_BYTES}x}")
        if self.dead_letters:
            console.line(f"  {self.dead_letters:,} more old messages are dead letters")
        if self.copies:
            console.line(f"  {self.copies:,} copies of events, each counted once")
        if self.missing_count:
            console.line(printable(f"  {self.missing_count:,} are missing: {', '.join(self.missing)}"))
        keys = self.different_keys()
        if keys:
            more = " and more" if len(keys) > SHOWN_MAX else ""
            console.line(printable(f"  keys that differ ({len(keys):,}): {', '.join(keys[:SHOWN_MAX])}{more}"))


def key_text(message: Message) -> str:
    key = message.key()
    return key.decode("utf-8", "replace") if key is not None else ""


def compare_values(pair: Comparison, reader: Reader, window: Window) -> None:
    """Two topics that are to have the same records."""
    for topic, tally in ((pair.old_topic, pair.old), (pair.new_topic, pair.new)):
        for message in reader.read(topic, window.since_ms, window.until_ms + window.slack_ms):
            if window.has(message):
                tally.add(key_text(message), message.value() or b"")


class _Origin(msgspec.Struct):
    """What is looked at of an event that was an old message."""

    id: str = ""
    labels: dict[str, str] = {}
    data: msgspec.Raw = msgspec.Raw(b"")


_DECODE = msgspec.json.Decoder(_Origin).decode


def compare_events(pair: Comparison, reader: Reader, window: Window, dead_letter: str, now_stamped: bool) -> None:
    """An old topic, and the events that the daemon made of it. Dead letters first: they have no event."""
    dead_lettered, wanted, seen = Places(), Places(), Places()
    for message in reader.read(dead_letter, window.since_ms, None):
        place = dead_lettered_place(message, pair.old_topic)
        if place is not None:
            dead_lettered.add(*place)
    end_ms = window.until_ms + window.slack_ms
    for message in reader.read(pair.old_topic, window.since_ms, end_ms):
        place = message.partition() or 0, message.offset() or 0
        if not window.has(message):
            continue
        if dead_lettered.has(*place):
            pair.dead_letters += 1
        else:
            wanted.add(*place)
            pair.old.add(key_text(message), (message.value() or b"").strip(JSON_SPACE))
    pattern = re.compile(re.escape(pair.old_topic) + r"-(\d{1,9})-(\d{1,18})")
    for message in reader.read(pair.new_topic, window.since_ms, None if now_stamped else end_ms):
        try:
            event = _DECODE(message.value() or b"")
        except UNREADABLE:
            continue  # not one that the daemon made of an old message
        match = pattern.fullmatch(event.id)
        if match is None or not wanted.has(int(match[1]), int(match[2])):
            continue
        if seen.add(int(match[1]), int(match[2])):
            pair.new.add(event.labels.get("symbol", ""), bytes(event.data).strip(JSON_SPACE))
        else:
            pair.copies += 1
    for place in wanted:
        if not seen.has(*place):
            pair.missing_count += 1
            if len(pair.missing) < SHOWN_MAX:
                pair.missing.append(f"{pair.old_topic}-{place[0]}-{place[1]}")


def dead_lettered_place(message: Message, topic: str) -> tuple[int, int] | None:
    """Where a dead letter came from, when it came from this topic."""
    headers = dict(message.headers() or [])
    texts = [headers.get(f"{DEAD_LETTER_HEADER_PREFIX}{name}") or b"" for name in ("topic", "partition", "offset")]
    if texts[0] != topic.encode() or not (texts[1].isdigit() and texts[2].isdigit()):
        return None
    return int(texts[1]), int(texts[2])


class Moment(click.ParamType):
    """`1h` ago, or RFC 3339; milliseconds since the epoch out."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        if match is not None:
            return round(datetime.now(UTC).timestamp() * 1000) - int(match[1]) * UNIT_MS[match[2]]
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: write 30m, 2h, 1d, or 2026-11-24T09:00:00Z", param, ctx)
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


class Span(click.ParamType):
    """`10m`; milliseconds out."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no length of time: write 90s, 10m, 1h", param, ctx)
        return int(match[1]) * UNIT_MS[match[2]]


def chosen_pairs(config: Config, named: tuple[str, ...]) -> list[tuple[Comparison, str | None]]:
    """Each pair, with the kafka.topics key of one whose old side the daemon turns into events."""
    old_topics = config.old_topics()
    if not named:
        named = tuple(f"{topic}={getattr(config.kafka.topics, TYPED[key])}" for topic, key in old_topics.items())
    if not named:
        raise IngestdError("nothing to compare: set kafka.topics.raw_data or processed_data, or give --pair OLD=NEW")
    pairs = []
    for text in named:
        old, _, new = text.partition("=")
        if not old or not new:
            raise click.UsageError(f"--pair {text}: write OLD=NEW")
        pairs.append((Comparison(old, new), old_topics.get(old)))
    return pairs


@click.command("compare")
@config_option
@click.option("--pair", "named", multiple=True, metavar="OLD=NEW", help="Else the old topics of the config.")
@click.option("--since", type=Moment(), default="1h", show_default=True, help="1h ago, or RFC 3339.")
@click.option("--until", type=Moment(), default="1m", show_default=True, help="Younger records may be under way.")
@click.option(
    "--slack", type=Span(), default="10m", show_default=True, help="How far records may be out of order in time."
)
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def command(config_path: str | None, named: tuple[str, ...], since: int, until: int, slack: int, as_json: bool) -> int:
    """Count and hash old topics against new ones, for a window of time.

    Without --pair: the old topics of the config against the events made of them; every message must be there, with the
    same bytes, or be a dead letter. With --pair OLD=NEW: these; where OLD is no old topic of the config, two topics
    that are to have the same values. Exit 1 when something differs.
    """
    if since >= until:
        raise click.UsageError("--since is not before --until")
    config = load(config_path)
    checks.ensure(config)
    window = Window(since, until, slack)
    pairs = chosen_pairs(config, named)
    errors = Output(to_stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.can_move, transient=True) as progress:
        reader = Reader(config, progress)
        for pair, key in pairs:
            if key is None:
                compare_values(pair, reader, window)
            else:
                dead_letter, now_stamped = config.kafka.topics.dead_letter, config.kafka.timestamp == "now"
                compare_events(pair, reader, window, dead_letter, now_stamped)
    found = [pair for pair, _ in pairs]
    if as_json:
        write_json({"since_ms": since, "until_ms": until, "pairs": [pair.as_dict() for pair in found]})
    else:
        console = Output()
        for pair in found:
            pair.show(console)
    return 0 if all(pair.equal for pair in found) else 1
