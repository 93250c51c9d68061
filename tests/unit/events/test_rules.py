"""Rules, compiled: names become masks, sets and numbers, and sampling decides as the document says."""

import hashlib
import re

import pytest

from ingestd.config.schema import TopicsConfig
from ingestd.events.rules import compile_rules, sample_randomness, sample_threshold
from ingestd.events.vocabulary import Action, EventType, Level
from tests.support.fastpath import event, outcome, rule
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "sampling.md"
TYPED = tuple(f"observability.{name}" for name in ("logs", "metrics", "alerts", "traces", "health"))


def table_rows(heading: str) -> list[list[str]]:
    """The body of the table whose first column has this heading."""
    body = DOCUMENT.read_text(encoding="utf-8").split(f"| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]


def compile_one(*args, **match):
    (rule_compiled,), topics = compile_rules((rule(*args, **match),), TopicsConfig().outputs())
    return rule_compiled, topics.names


def test_a_rule_without_match_matches_everything():
    found, _ = compile_one("drop")
    assert (found.types_mask, found.levels_mask, found.services, found.components) == (0, 0, None, None)
    assert (found.labels, found.correlation_ids, found.action) == ((), None, Action.DROP)


def test_types_and_levels_become_masks_with_their_aliases_resolved():
    found, _ = compile_one("keep", types=("error", "log", "trace"), levels=("WARN", "warning", "Critical", "debug"))
    assert found.types_mask == 1 << EventType.LOG | 1 << EventType.TRACE
    assert found.levels_mask == 1 << Level.WARNING | 1 << Level.FATAL | 1 << Level.DEBUG


def test_names_become_sets():
    found, _ = compile_one(
        "drop",
        services=("a", "b", "a"),
        components=("c",),
        correlation_ids=("x",),
        labels={"env": ("prod", "test"), "zone": ("1",)},
    )
    assert found.services == {"a", "b"} and found.components == {"c"} and found.correlation_ids == {"x"}
    assert dict(found.labels) == {"env": {"prod", "test"}, "zone": {"1"}}


@pytest.mark.parametrize("action", Action)
def test_every_action_of_the_config_has_its_number(action: Action):
    assert compile_one(action.name.lower(), ("t",))[0].action == action


def test_output_topics_are_the_typed_ones_then_dead_letters_then_those_of_rules():
    rules = (rule("copy", ["b", "a"]), rule("drop"), rule("route", ["a", "observability.traces", "c"]))
    compiled, topics = compile_rules(rules, TopicsConfig().outputs())
    assert topics.names == (*TYPED, "observability.dead_letter", "b", "a", "c")
    assert [found.topics for found in compiled] == [(6, 7), (), (7, EventType.TRACE, 8)]


def test_a_topic_that_a_rule_names_twice_is_one_output_topic():
    assert compile_one("copy", ["a", "a"])[1].count("a") == 1


def test_rules_keep_their_order():
    rules = [rule("copy", [name]) for name in "cab"]
    compiled, topics = compile_rules(rules, TopicsConfig().outputs())
    assert [topics.names[found.topics[0]] for found in compiled] == ["c", "a", "b"]


@pytest.mark.parametrize(("rate", "threshold"), table_rows("rate"))
def test_thresholds_are_those_of_the_document(rate: str, threshold: str):
    assert sample_threshold(float(rate)) == int(threshold, 16)
    assert compile_one("sample", (), float(rate))[0].threshold == int(threshold, 16)


@pytest.mark.parametrize(("key", "randomness", "dropped_at"), table_rows("key"))
def test_randomness_is_that_of_the_document_on_both_sides(key: str, randomness: str, dropped_at: str):
    assert f"{sample_randomness(key):014x}" == randomness
    rates = [float(row[0]) for row in table_rows("rate")]
    kept_at = [rate for rate in rates if int(randomness, 16) >= sample_threshold(rate)]
    assert kept_at == [rate for rate in rates if rate > float(dropped_at)]
    # The fast path has its own: it is told nothing but the threshold.
    assert [rate for rate in rates if outcome(event(trace_id=key), rule("sample", rate=rate)).topics] == kept_at


def test_a_hash_is_read_as_the_document_says():
    digest = hashlib.sha256(b"order 42").digest()
    assert sample_randomness("order 42") == int.from_bytes(digest[1:8], "big")


def test_what_is_kept_at_a_low_rate_is_kept_at_every_higher_one():
    keys, rates = [f"trace {number}" for number in range(500)], (0, 0.01, 0.1, 0.5, 1)
    kept = [{key for key in keys if sample_randomness(key) >= sample_threshold(rate)} for rate in rates]
    assert kept[0] == set() and kept[4] == set(keys)
    assert all(lower <= higher for lower, higher in zip(kept, kept[1:], strict=False))
    assert 20 <= len(kept[2]) <= 80 and 200 <= len(kept[3]) <= 300


def test_the_document_has_its_vectors():
    assert len(table_rows("rate")) == 7 and len(table_rows("key")) >= 12
    assert all(re.fullmatch("[0-9a-f]{14}", row[1]) for row in table_rows("key"))
