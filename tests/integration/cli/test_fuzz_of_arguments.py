"""Random words, streams and terminals for every verb: it ends with a documented code and without a traceback.

INGESTD_TEST_FUZZ_S=3600 makes it an hour; the seed of the run makes the same cases again.
"""

import os
import random
import resource
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingestd.cli import VERBS
from tests.support.terminal import ASCII, INGESTD, UTF_8, Terminal, environment
from tests.support.wait import MULTIPLIER

FUZZ_S = float(os.environ.get("INGESTD_TEST_FUZZ_S", "15"))
# 0, failed, usage, bad config, Ctrl-C.
CODES = {0, 1, 2, 78, 130}
PATIENCE_S = 8
AT_ONCE = 2
CONFIG = """\
kafka: {brokers: ["127.0.0.1:1"], topics: {raw_data: old}, group_id: "grüße"}
redis: {url: "redis://127.0.0.1:1/0"}
http: {listen: null}
rules: [{name: "→ [red] :smile:", match: {levels: [debug]}, action: drop}]
"""
EVENTS = '{"id": "a", "type": "log", "level": "info", "service": "服务", "message": "\\u001b[2J"}\n{\n\n[]\n"\\ud800"\n'
OPTIONS = [
    "--json", "--offline", "--interval", "--times", "--type", "--level", "--label", "--rate", "--count", "--mask",
    "--at", "--since", "--until", "--slack", "--pair", "--redis", "--follow", "--for",
    "--limit", "--local", "--partitions",
    "--retention", "--replication-factor", "--topic", "--secret", "--secrets", "--help", "-h", "-c", "--config", "-f",
    "--no-such", "--jsn", "--", "-", "-V",
]  # fmt: skip
VALUES = [
    "", "0", "1", "-1", "1e9", "9" * 400, "nan", "inf", "٣", "1h", "2026-11-24T09:00:00Z", "0001-01-01T00:00:00Z",
    "forever", "log", "eror", "a=b", "=", "a=", "[red]", "[/]", ":smile:", "\x1b[2J", "\u202e",
    "grüße", "\udcff\udcfe", "x" * 5000,
    "127.0.0.1:1", "[::1]:1", "a..b:80", "/no/such", ".", "..", "/dev/null", "events.jsonl", "config.yaml", "bad.yaml",
    "redis://127.0.0.1:1/0", "redis://:pw@[::1", "rediss://127.0.0.1:1", "unix:///no/such",
    "http://x", "kept", "old=new",
    "create", "get", "correlated", "trace", "%s", "{}", "${HOME}", "\n", "\t",
]  # fmt: skip
FOREIGN = [
    {}, ASCII, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "utf-16"}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"},
    {"TERM": "dumb"}, {"TERM": ""}, {"TERM": "no-such"}, {"COLUMNS": "1"}, {"COLUMNS": "0"}, {"COLUMNS": "x"},
    {"COLUMNS": "99999"}, {"LINES": "1"}, {"LC_ALL": "no_such"}, {"TMPDIR": "/no/such"}, {"PYTHONUNBUFFERED": "1"},
    {"INGESTD_CONFIG": "/no/such"}, {"INGESTD_CONFIG": ""}, {"TTY_COMPATIBLE": "1"}, {"TZ": "No/Where"},
]  # fmt: skip


def words_of(chance: random.Random) -> list[str]:
    """Half sensible, so that more is reached than the usage."""
    # The daemon and the demo have tests of their own, and would run on.
    verb = chance.choice([verb for verb in VERBS if verb not in ("run", "demo")] + ["", "demo", "run", "no-such"])
    if verb in ("run", "demo"):
        return [
            verb,
            chance.choice(["--no-such", "--rate=0", "--seconds=x", "-c/no/such", "--help", "--seed=1.5", "-cbad.yaml"]),
        ]
    words = [verb]
    if verb in ("topics", "events") and chance.random() < 0.8:
        words.append(chance.choice(["create"] if verb == "topics" else ["get", "correlated", "trace"]))
    if verb in ("events", "migrate-config", "test") and chance.random() < 0.8:
        words.append(chance.choice(VALUES))
    if chance.random() < 0.7:
        words += ["-c", "config.yaml"]
    for _ in range(chance.randrange(4)):
        words.append(chance.choice(OPTIONS))
        if chance.random() < 0.6:
            words.append(chance.choice(VALUES))
    return words


class Case:
    """One call: its words, its environment and its streams, all from a seed of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        chance = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.words = words_of(chance)
        foreign = chance.choice(FOREIGN) | (chance.choice(FOREIGN) if chance.random() < 0.3 else {})
        self.environment = environment(**(UTF_8 | foreign))
        self.stdout = chance.choice(["pipe", "pipe", "terminal", "terminal", "full", "gone", "closed", "read-only"])
        self.closed = [number for number in (0, 1, 2) if chance.random() < 0.1]
        self.descriptors = chance.choice([None, None, None, 6, 10, 16, 32])
        self.columns = chance.choice([0, 1, 2, 20, 40, 80, 200, 5000])
        self.interrupt = chance.random() < 0.2

    def __str__(self) -> str:
        odd = {name: value for name, value in self.environment.items() if os.environ.get(name) != value}
        return f"seed {self.seed}: {self.words!r} {odd} stdout={self.stdout} closed={self.closed} n={self.descriptors}"

    def prepare(self) -> None:
        os.chdir(self.folder)
        for number in self.closed:
            os.close(number)
        if self.descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def run(self) -> None:
        code, text = self.on_terminal() if self.stdout == "terminal" else self.in_pipe()
        if "Too many open files" in text and self.descriptors is not None and "ingestd:" not in text:
            return  # Python itself could not begin
        assert "Traceback" not in text and "Exception ignored" not in text, f"{self}\n{text}"
        assert code in CODES or code in (-signal.SIGTERM, -signal.SIGINT), f"{self}\nexit code {code}\n{text}"

    def on_terminal(self) -> tuple[int, str]:
        words = (*INGESTD, *self.words)
        opened = Terminal(words, self.columns, self.environment, prepare=self.prepare)
        try:
            ends_s = time.monotonic() + (0.7 if self.interrupt else PATIENCE_S) * MULTIPLIER
            opened.read_until(lambda: opened.process.poll() is not None or time.monotonic() > ends_s, "a while")
            if opened.process.poll() is None:
                opened.press_ctrl_c()
                opened.process.send_signal(signal.SIGTERM)
            return opened.wait(30), opened.text()
        finally:
            opened.close()

    def in_pipe(self) -> tuple[int, str]:
        read_end, write_end = os.pipe()
        out = {
            "full": lambda: os.open("/dev/full", os.O_WRONLY),
            "read-only": lambda: os.open("/dev/null", os.O_RDONLY),
            "gone": lambda: os.dup(write_end),
        }.get(self.stdout, lambda: subprocess.PIPE)()
        os.close(read_end)
        os.close(write_end)
        try:
            with subprocess.Popen(
                (*INGESTD, *self.words), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE,
                env=self.environment, preexec_fn=self.prepare,
            ) as process:  # fmt: skip
                try:
                    data = process.communicate(EVENTS.encode(), (0.7 if self.interrupt else PATIENCE_S) * MULTIPLIER)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGINT)
                    data = process.communicate(timeout=30 * MULTIPLIER)
        finally:
            if out != subprocess.PIPE:
                os.close(out)
        return process.returncode, b"".join(filter(None, data)).decode("utf-8", "backslashreplace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "bad.yaml").write_text("kaffka: {'\\u001b[2J': 1}\n")
    (tmp_path / "events.jsonl").write_text(EVENTS)
    return tmp_path


@pytest.mark.timeout(120 * MULTIPLIER + 2 * FUZZ_S)
@pytest.mark.slow
def test_whatever_the_words_and_the_streams_are_it_ends_in_words(folder: Path, seed: int) -> None:
    ends_s = time.monotonic() + FUZZ_S
    numbers = iter(range(1 << 30))

    def keep_trying(_worker: int) -> int:
        count = 0
        while time.monotonic() < ends_s:
            Case(seed + next(numbers), folder).run()
            count += 1
        return count

    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(keep_trying, range(AT_ONCE)))
    assert min(counts) > 0
    print(f"{sum(counts)} cases from seed {seed} on")
