"""README and docs/ are true where a machine can tell: configs, rules, verbs, log lines. No cluster."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.cli import VERBS
from ingestd.config.kafka_consumers import (
    FETCH_REPLY_SHARE,
    HELD_SHARE,
    PREFETCH_SHARE,
    daemon_consumer_options,
    held_bytes_max,
)
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.events.vocabulary import TYPE_ALIASES, TYPE_NAMES, Action
from tests.support.documents import ROOT, blocks, snippets

PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
CONFIGS = [(page, text) for page in PAGES for text in snippets(page, "yaml")]
# Pages whose `sh` blocks write a config by a here-document.
WRITTEN = [(page, found) for page in PAGES for found in re.findall(
    r"^cat > \S+config\.yaml <<'END'\n(.*?)^END$", (ROOT / page).read_text(), re.M | re.S
)]  # fmt: skip


@pytest.mark.parametrize(("page", "text"), CONFIGS + WRITTEN, ids=[page for page, _ in CONFIGS + WRITTEN])
def test_a_config_that_a_document_shows_is_a_good_one(page: str, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INSTANCE", "a")
    parse(text)


def test_the_front_page_has_a_config_of_six_lines_and_a_short_program():
    assert [len(text.splitlines()) for text in snippets("README.md", "yaml")] == [6]
    assert [len(text.splitlines()) <= 12 for text in snippets("README.md", "python")] == [True]


def test_the_rules_page_shows_what_ingestd_test_says(tmp_path: Path):
    (rules,) = snippets("docs/rules.md", "yaml")
    (events,) = snippets("docs/rules.md", "json")
    shown = blocks("docs/rules.md")[-1].text
    (tmp_path / "config.yaml").write_text(rules)
    (tmp_path / "events.jsonl").write_text(events)
    command, _, said = shown.partition("\n")
    assert command == "$ ingestd test events.jsonl"
    words = [sys.executable, "-m", "ingestd", "test", "events.jsonl"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == said


def test_the_rules_page_has_every_action():
    text = (ROOT / "docs" / "rules.md").read_text()
    assert re.findall(r"^\| `(\w+)`", text, re.M) == [action.name.lower() for action in Action]


def test_the_page_of_topics_has_every_type_with_its_topic_and_its_aliases():
    text = (ROOT / "docs" / "where-events-go.md").read_text()
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `([\w.]+)` \| `events:(\w+):ID`", text, re.M)
    aliases = {name: [name, *(alias for alias, of in TYPE_ALIASES.items() if of == name)] for name in TYPE_NAMES}
    topics = zip(TYPE_NAMES, Config().kafka.topics.outputs(), strict=False)
    assert rows == [(", ".join(f"`{word}`" for word in aliases[name]), topic, name) for name, topic in topics]


def test_the_commands_page_has_every_verb_and_no_other():
    text = (ROOT / "docs" / "commands.md").read_text()
    assert set(re.findall(r"^\| `ingestd ([\w-]+)", text, re.M)) == set(VERBS)


def test_the_memory_table_of_the_on_call_page_has_the_shares_of_today():
    text = (ROOT / "docs" / "on-call.md").read_text()
    rows = re.findall(r"^\| (\d+) % \| .* \| `([\w.]+)` \| ([\d,]+) \w+ \|$", text, re.M)
    config = Config()
    values = daemon_consumer_options(config, "daemon") | {"ingestd_buffer_bytes_max": str(held_bytes_max(config))}
    assert [float(share) / 100 for share, _, _ in rows] == [PREFETCH_SHARE, FETCH_REPLY_SHARE, HELD_SHARE]
    assert {name: figure.replace(",", "") for _, name, figure in rows} == {name: values[name] for _, name, _ in rows}
    assert f"with {config.pipeline.memory_limit_mib} |" in text


def test_every_log_line_of_the_on_call_page_is_in_the_sources():
    sources = "\n".join(path.read_text() for path in (ROOT / "daemon").rglob("*.py"))
    table = (ROOT / "docs" / "on-call.md").read_text().split("| the log says |")[1].split("\n\n")[0]
    lines = re.findall(r"^\| `([^`]+)`", table, re.M)
    assert len(lines) > 10
    assert [line for line in lines if line not in sources] == []
