"""Any bytes as a config file: each becomes a Config, or a ConfigError whose problems are words, in a bounded time.

INGESTD_FUZZ_S is how many seconds each kind of input is tried; CI gives it a minute now and then.
"""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ingestd.config import checks, full_check
from ingestd.config.keys import keys
from ingestd.config.loading import Loaded, load_located
from ingestd.config.schema import Config
from ingestd.errors import ConfigError
from ingestd.observers.taps import Taps
from ingestd.pipeline.route_table import RouteTables
from tests.conftest import SEED
from tests.support.paths import ROOT

FUZZ_S = float(os.environ.get("INGESTD_FUZZ_S", "1.5"))
pytestmark = pytest.mark.timeout(120 + 10 * FUZZ_S)
# Of processor time, for files of the size that is made here.
LIMIT_S = 5.0
# What means something to YAML, to UTF-8, to numbers or to a shell.
FRAGMENTS = (
    *rb"{} [] { } [ ] , : ? - | > % @ ` ' # & * ! ~ << <<: *a &a \ !!int !!binary !!python/object:os.system".split(),
    *rb'" "\ud800" "\ud83d\ude00" "\U00110000" "\UFFFFFFFF" "\x00" null true NO on 0x_ 0o17 0256 1:30'.split(),
    *b"1_000 1e400 .inf .nan -0 ${ ${A ${A} ${A:-${B}} ${A:?} ${env:A} $A $(A) $$ ${A:- ${!A}".split(),
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe{\0", b"\x85", b"\xe2\x80\xa8", b"\t", b"\n", b"\r"),
    *(b"\n---\n", b"\n...\n", b"%YAML 1.1\n--- "),
    b"9" * 5000,
    b"[" * 200,
    b"{a: " * 200,
    b"- " * 200,
    b"x-a: &a [1, 1, 1, 1, 1, 1, 1, 1]\nx-b: &b [*a, *a, *a, *a, *a, *a]\nx-c: [*b, *b, *b, *b, *b]\n",
)
BASES = (
    b"kafka:\n  brokers: [a:1, 'b:2']\n  group_id: g\n  consumer_options: {fetch.min.bytes: 5, debug: cgrp}\n",
    b"redis:\n  url: rediss://h:1/2\n  sentinel: {master: m, nodes: ['s:1']}\n  tls: {ca_file: /etc/hosts}\n",
    b"redis: {url: 'unix:///run/a.sock?db=1', password_file: /etc/hosts}\nhttp: {listen: '[::1]:80'}\n",
    b"x-a: &a {types: [log], labels: {env: prod, no: [1.10, on]}}\nrules:\n"
    b"- {name: r, action: sample, rate: 0.5, match: {<<: *a, levels: [info]}}\n- {name: s, action: drop, match: *a}\n",
    b"kafka: {input_topics: ['^a[[:alpha:]]{1,3}$'], index_only_topics: [observability.logs]}\n",
    b"pipeline: {memory_limit_mib: 256, dead_letter: {max_ratio: 0.1}}\nhealth: {lag_warning_s: 90}\n",
    b"kafka: {brokers: '${BROKERS:-a:1,b:2}', rack: '${RACK:-}', client_id: i-${N-1}}\nlogging: {level: debug}\n",
)
WHOLE = (ROOT / "config.yaml").read_bytes()


def mutated(dice: random.Random) -> bytes:
    """One of the bases with a few changes; rarely the whole of config.yaml, which takes long to read."""
    text = bytearray(WHOLE if dice.random() < 0.02 else dice.choice(BASES))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at, end = sorted((dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)))
        match dice.randrange(5):
            case 0:
                text[at:at] = dice.choice(FRAGMENTS)
            case 1:
                text[at : min(end, at + 8)] = dice.choice(FRAGMENTS)
            case 2:
                del text[at : min(end, at + 5)]
            case 3 if text:
                text[min(at, len(text) - 1)] = dice.randrange(256)
            case _:
                text[at:at] = text[at : min(end, at + 200)]
    return bytes(text)


PATHS = [path for path, _ in keys(Config)]
WORDS = st.one_of(
    st.sampled_from(
        ["", "null", "0256", "1:30", "0x10", "${HOME}", "${NOT_SET_X:-5}", "NO", "1e3", "a:1", "^a$", "true"]
    ),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
)
VALUES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)
TREES = st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=4)


def spelt(value: Any, dice: random.Random) -> str:
    """A value in YAML's flow form; scalars sometimes without quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spelt(key, dice)}: {spelt(item, dice)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(spelt(item, dice) for item in value) + "]"
    return value if dice.random() < 0.5 else json.dumps(value)


def written(tree: dict[str, Any], dice: random.Random) -> bytes:
    """Keys below their sections, as a file has them."""
    nested: dict[str, Any] = {}
    for path, value in tree.items():
        *sections, key = path.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return spelt(nested, dice).encode("utf-8", "surrogatepass")


def ensure_words(content: bytes, folder: Path, load: Callable[[str], Loaded] = load_located) -> bool:
    """Whether it became a config, which may have problems of sense. Fails when it ends in any other way."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    started_s = time.process_time()
    try:
        loaded = load(str(path))
        problems = loaded.located(checks.check(loaded.config))
        is_config = True
        if not problems:
            # What `run` and a reload do next.
            problems = full_check.examine(loaded).problems
            RouteTables(loaded.config, Taps(lambda: None, time.monotonic)).build()
    except ConfigError as error:
        problems, is_config = error.problems, False
        assert problems, content
    for problem in problems:
        text = str(problem)
        assert problem.path and problem.what and "\n" not in text.strip() and len(text) < 1500, (text, content)
        text.encode()
    assert time.process_time() - started_s < LIMIT_S, content
    return is_config


def test_changed_files_end_as_a_config_or_in_words(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    ends = {True: 0, False: 0}
    end_s = time.monotonic() + FUZZ_S
    while time.monotonic() < end_s or sum(ends.values()) < 50:
        content = mutated(dice)
        try:
            ends[ensure_words(content, tmp_path)] += 1
        except BaseException as error:
            error.add_note(f"seed {SEED}, file {sum(ends.values())}: {content[:2000]!r}")
            raise
    assert ends[True] and ends[False], "both ends are met"


@seed(SEED)
@settings(
    max_examples=20 + int(10 * FUZZ_S),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=TREES, number=st.integers(0, 1000))
def test_made_files_end_as_a_config_or_in_words(tree: dict[str, Any], number: int, tmp_path: Path) -> None:
    ensure_words(written(tree, random.Random(number)), tmp_path)


@pytest.mark.parametrize(
    "content", [b"kafka: {", b"a: !!int abc", b"health: {interval_s: 0x_}", b'a: "\\ud800"', b"\0"]
)
def test_files_that_once_ended_a_daemon_end_in_words(content: bytes, tmp_path: Path) -> None:
    assert not ensure_words(content, tmp_path)


def test_the_fuzz_notices_another_end(tmp_path: Path) -> None:
    """The canary: without it nobody would know whether the tests above look at anything."""

    def crash(path: str) -> Loaded:
        raise ValueError("not words")

    with pytest.raises(ValueError, match="not words"):
        ensure_words(b"", tmp_path, crash)
