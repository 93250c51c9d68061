"""Reads everything back and says what is missing. A broker and a Redis in; sets and problems out."""

import json
import time
from collections import Counter
from typing import NamedTuple

import redis
from confluent_kafka import Consumer, TopicPartition

from bench.events import Made
from tests.support.daemon_process import TYPED

TTL_S = {"events": 86400, "logs": 86400, "error_logs": 604800, "traces": 604800, "alerts": 7776000}
INDEX_MARGIN_S = 3600
PIPELINE = 5000


class Copies(NamedTuple):
    """How often each event id stands in the typed topics, and how many records of the daemon's own there are."""

    by_id: Counter[str]
    own: int


def read_topics(bootstrap: str, topics: tuple[str, ...] = TYPED, own_service: str = "realtime-data-pipeline") -> Copies:
    """Every record of the typed topics, from their beginnings to the ends of now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "verify",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    by_id: Counter[str] = Counter()
    own = 0
    try:
        ends = {}
        for topic in topics:
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                if high > low:
                    ends[topic, partition] = high
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
        while ends:
            messages = consumer.consume(5000, 10)
            assert messages, f"no record came within 10 s, still to read: {ends}"
            for message in messages:
                assert message.error() is None, message.error()
                event = json.loads(message.value())
                if event["service"] == own_service:
                    own += 1
                else:
                    by_id[event["id"]] += 1
                key = (message.topic(), message.partition())
                if message.offset() + 1 >= ends.get(key, 0):
                    ends.pop(key, None)
    finally:
        consumer.close()
    return Copies(by_id, own)


def expected_keys(made: Made) -> dict[str, int]:
    """Redis key -> TTL of one event in the full layout."""
    keys = {f"events:{made.type}:{made.id}": TTL_S["events"]}
    if made.type == "log":
        urgent = made.level in ("error", "fatal")
        keys[f"logs:{made.level}:{made.id}"] = TTL_S["error_logs" if urgent else "logs"]
    elif made.type == "trace" and made.trace_id and made.span_id:
        keys[f"traces:{made.trace_id}:{made.span_id}"] = TTL_S["traces"]
    elif made.type == "alert":
        keys[f"alert_events:{made.id}"] = TTL_S["alerts"]
    return keys


def redis_problems(client: redis.Redis, events: list[Made], started_s_ago: float) -> list[str]:
    """What Redis lacks of these events: values, TTLs, index members. Empty is good; at most twenty are named."""
    problems: list[str] = []
    started_s = time.monotonic() - started_s_ago  # this reading takes its time too
    for begin in range(0, len(events), PIPELINE):
        part = events[begin : begin + PIPELINE]
        pipe = client.pipeline(transaction=False)
        asked = []
        for made in part:
            keys = expected_keys(made)
            member = max(keys, key=lambda key, keys=keys: (keys[key], key.startswith("events:")))
            for key, ttl in keys.items():
                pipe.get(key)
                pipe.ttl(key)
                asked.append((made, key, ttl))
            for index, ident in (("correlation_index", made.correlation_id), ("trace_index", made.trace_id)):
                if ident:
                    pipe.zscore(f"{index}:{ident}", member)
                    pipe.ttl(f"{index}:{ident}")
                    asked.append((made, f"{index}:{ident} -> {member}", max(keys.values()) + INDEX_MARGIN_S))
        answers = iter(pipe.execute())
        for made, what, ttl in asked:
            value, left = next(answers), next(answers)
            if value is None:
                problems.append(f"{what} is not there")
            elif "->" not in what and value != made.payload:
                problems.append(f"{what} has other bytes")
            # An index lives as long as its longest-lived member, so it may have more; never less.
            elif left < ttl - (time.monotonic() - started_s) - 5 or ("->" not in what and left > ttl):
                problems.append(f"{what} has a TTL of {left} s, not {ttl}")
        if len(problems) >= 20:
            break
    return problems[:20]
