"""Unit tests of reload. Two configs in; what changed, by what it needs, and what runs after, out."""

import json
from typing import Any

import msgspec
import pytest

from ingestd.config import changes
from ingestd.config.keys import Field, keys
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.events.rules import compile_rules


def configured(**sections: object) -> Config:
    return parse(json.dumps(sections))


def changed(section: Any, path: str) -> Any:
    """A config in which one key has another value; of which type does not matter here."""
    name, _, rest = path.partition(".")
    return msgspec.structs.replace(section, **{name: changed(getattr(section, name), rest) if rest else "other"})


def test_equal_configs_change_nothing() -> None:
    assert changes.changes(Config(), Config()) == changes.Changes((), ())


def test_rules_and_times_to_live_are_live_and_brokers_need_a_restart() -> None:
    new = configured(
        kafka={"brokers": ["other:9092"], "partition_by": "none"},
        rules=[{"name": "r", "action": "drop"}],
        storage={"logs_ttl_s": 5},
        pipeline={"in_flight_events_max": 4000, "memory_limit_mib": 64, "dead_letter": {"window_s": 5}},
        health={"interval_s": 1},
        logging={"level": "debug", "format": "json"},
    )
    found = changes.changes(Config(), new)
    assert found.live == (
        "kafka.partition_by",
        "storage.logs_ttl_s",
        "rules",
        "pipeline.in_flight_events_max",
        "pipeline.dead_letter.window_s",
        "health.interval_s",
        "logging.level",
    )
    assert found.restart == ("kafka.brokers", "pipeline.memory_limit_mib", "logging.format")


def test_what_runs_after_is_the_new_one_only_where_that_takes_effect() -> None:
    new = configured(kafka={"brokers": ["other:9092"]}, storage={"logs_ttl_s": 5})
    running = changes.live_part(Config(), new)
    assert running.kafka.brokers == Config().kafka.brokers
    assert running.storage.logs_ttl_s == 5
    # What waits for a restart is named again at the next reload, and what was taken over is not.
    assert changes.changes(running, new) == changes.Changes((), ("kafka.brokers",))


@pytest.mark.parametrize(("path", "field"), list(keys(Config)), ids=[path for path, _ in keys(Config)])
def test_a_key_changes_at_a_reload_exactly_when_its_field_says_so(path: str, field: Field) -> None:
    other = changed(Config(), path)
    found = changes.changes(Config(), other)
    assert (found.live, found.restart) == (((path,), ()) if field.key.reload else ((), (path,)))
    assert changes.live_part(Config(), other) == (other if field.key.reload else Config())


def test_topics_keep_their_numbers_over_a_reload() -> None:
    def rules_to(*topics: str) -> Config:
        return configured(rules=[{"name": t, "action": "copy", "topics": [t]} for t in topics])

    first, second = rules_to("a", "b"), rules_to("c", "a")
    _, known = compile_rules(first.rules, first.kafka.topics.outputs())
    compiled, topics = compile_rules(second.rules, second.kafka.topics.outputs(), known)
    assert topics.names[6:] == ("a", "b", "c")
    assert [rule.topics for rule in compiled] == [(8,), (6,)]
