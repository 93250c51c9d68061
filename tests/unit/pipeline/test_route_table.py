"""Building the fast path's table from a config and the open taps: what a reload adds, and what keeps its number."""

import json
from types import SimpleNamespace

from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.events.rules import MatchConfig, compile_match
from ingestd.pipeline.route_table import RouteTables


def config_with_copies(*topics: str) -> Config:
    rules = [{"name": f"copy-{topic}", "action": "copy", "topics": [topic]} for topic in topics]
    return parse(json.dumps({"rules": rules}))


def test_a_reload_numbers_new_topics_behind_the_known_ones() -> None:
    tables = RouteTables(config_with_copies("one"), SimpleNamespace(rules=(), dead_taps=0))
    before = tables.topics.names
    assert tables.swap(config_with_copies("two", "one")) == ["two"]
    assert tables.topics.names == (*before, "two"), "sends of open batches name topics by number"
    assert tables.swap(config_with_copies()) == [] and tables.build().rule_count == 0


def test_a_table_has_the_taps_that_are_open_when_it_is_built() -> None:
    taps = SimpleNamespace(rules=(), dead_taps=0)
    tables = RouteTables(config_with_copies("one"), taps)
    assert tables.build().tap_count == 0
    taps.rules = (compile_match(MatchConfig()),)
    assert (tables.build().tap_count, tables.build().rule_count) == (1, 1)
