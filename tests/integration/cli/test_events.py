"""`ingestd events` on a private Redis that the fast path has filled. In: words. Out: what is printed, the exit code."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ingestd import cli
from ingestd.cli.demo.private_redis import PrivateRedis
from tests.support.paths import ROOT
from tests.support.stored import Loader
from tests.support.wait import MULTIPLIER

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ORDER = "order-7"


def at(ms: float, ident: str, kind: str, service: str, level: str, message: str, **more: Any) -> dict[str, Any]:
    made = {
        "id": ident,
        "type": kind,
        "level": level,
        "service": service,
        "component": "api",
        "message": message,
        "timestamp": f"2026-11-24T09:12:{1 + ms / 1000:09.6f}Z",
        "correlation_id": ORDER,
        "trace_id": TRACE,
    }
    return made | more


def span(ms: float, ident: str, service: str, operation: str, length_ms: float, parent: str | None, **more: Any) -> Any:
    return at(ms, f"of-{ident}", "trace", service, more.pop("level", "info"), operation, span_id=ident) | {
        "data": {"operation": operation, "duration_ms": length_ms},
        "metadata": {"parent_span_id": parent} if parent else {},
    }


def order() -> list[dict[str, Any]]:
    """One order that failed: a clock that is behind, a parent that is missing, a message that is no good guest."""
    return [
        span(412, "a1", "gateway", "POST /orders", 409.5, None),
        span(1, "b1", "auth", "check token", 10, "a1"),
        span(380, "b2", "checkout", "place order", 320.25, "a1"),
        span(140, "c1", "inventory", "reserve stock", 60, "b2"),
        span(370, "c2", "payments", "charge card", 206, "b2", level="error"),
        span(95, "e1", "cache", "look up", 20, "gone"),
        at(3, "l1", "log", "gateway", "info", "POST /orders begun", labels={"env": "prod"}),
        at(369, "l2", "log", "payments", "error", "card refused:\n\x1b[31mno money", span_id="c2"),
        at(371, "l3", "log", "checkout", "warning", "order kept, payment open", labels={"env": "prod", "n": 1}),
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path_factory.mktemp("redis"))
    loader = Loader(server.socket)
    loader.store(order())
    loader.store([at(0, "old", "log", "legacy", "info", "an old program", correlation_id=None, trace_id=None)
                  | {"metadata": {"correlation_id": "from-go", "tries": [1, 2]}}])  # fmt: skip
    yield server
    loader.close()
    server.stop()


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def events(server: PrivateRedis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: str, url: str | None = server.url) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main(["events", *words, *(("--redis", url) if url else ())])
        assert isinstance(caught.value.code, int)
        return Answer(caught.value.code, *capsys.readouterr())

    return call


TIMELINE = r"""
2026-11-24 UTC
  09:12:01.001  info     trace   auth/api       check token
  09:12:01.003  info     log     gateway/api    POST /orders begun
  09:12:01.095  info     trace   cache/api      look up
  09:12:01.140  info     trace   inventory/api  reserve stock
  09:12:01.369  error    log     payments/api   card refused:\n\x1b[31mno money
  09:12:01.370  error    trace   payments/api   charge card
  09:12:01.371  warning  log     checkout/api   order kept, payment open
  09:12:01.380  info     trace   checkout/api   place order
  09:12:01.412  info     trace   gateway/api    POST /orders
9 events of 6 services in 411.00 ms, 2 errors
"""


def test_a_correlation_is_a_timeline(events: Any) -> None:
    answer = events("correlated", ORDER)
    assert (answer.code, answer.out, answer.err) == (0, TIMELINE.lstrip(), "")


WATERFALL = r"""
trace 4bf92f3577b34da6a3ce929d0e0e4736  2026-11-24 UTC 09:12:01.002
6 spans of 6 services, 409.50 ms, 1 with errors
  gateway POST /orders         ▒███████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒█████  409.50 ms
    auth check token           █                                                            10.00 ms
    checkout place order               ███▒▒▒▒▒▒▒▒████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒█       320.25 ms
      inventory reserve stock            █████████                                          60.00 ms
!     payments charge card                           ██████████████████████████████        206.00 ms
  ? gone                                 ···                                                 missing
    cache look up                        ▒▒▒                                                20.00 ms
bottleneck: payments charge card, 206.00 ms of its own on the critical path, 50% of the trace
missing: span gone, the parent of cache look up
clock: auth is at least 11.50 ms behind; its spans are moved by that
errors:
2026-11-24 UTC
  09:12:01.369  error    log     payments/api  card refused:\n\x1b[31mno money
"""


def test_a_trace_is_a_waterfall_with_its_bottleneck(events: Any) -> None:
    answer = events("trace", TRACE)
    assert (answer.code, answer.out, answer.err) == (0, WATERFALL.lstrip(), "")


def test_the_guide_shows_what_is_printed() -> None:
    guide = (ROOT / "docs" / "look-ups.md").read_text()
    for printed in (TIMELINE, WATERFALL):
        assert textwrap.indent(printed.strip("\n"), "    ") in guide


CARD = r"""
old
  time        2026-11-24 UTC 09:12:01.000  (2026-11-24T09:12:01.000000Z)
  type        log
  level       info
  from        legacy/api
  message     an old program
  correlation from-go
  metadata    correlation_id = from-go
              tries = [1,2]
"""


def test_an_event_is_a_card(events: Any) -> None:
    answer = events("get", "old")
    assert (answer.code, answer.out, answer.err) == (0, CARD.lstrip(), "")


def test_a_correlation_id_of_the_metadata_is_found(events: Any) -> None:
    assert "an old program" in events("correlated", "from-go").out


@pytest.mark.parametrize(
    "words", [("get", "no*"), ("correlated", "order-?"), ("trace", "*"), ("get", "l1", "--type", "metric")]
)
def test_nothing_is_exit_1_with_one_line(words: tuple[str, ...], events: Any) -> None:
    answer = events(*words)
    assert (answer.code, answer.out) == (1, "")
    assert words[1] in answer.err and answer.err.count("\n") == 1 and "expired" in answer.err


def test_filters_that_nothing_passes_say_how_many_there_are(events: Any) -> None:
    answer = events("correlated", ORDER, "--level", "fatal")
    assert (answer.code, answer.out) == (1, "")
    assert "none of 9 events" in answer.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--level", "WARN", "--level", "error"), ["l2", "of-c2", "l3"]),
        (("--type", "log"), ["l1", "l2", "l3"]),
        (("--label", "env=prod"), ["l1", "l3"]),
        (("--label", "env=prod", "--level", "info"), ["l1"]),
        (("--limit", "2"), ["of-b1", "l1"]),
        (("--since", "2026-11-24T09:12:01.371Z", "--until", "2026-11-24T10:12:01.400+01:00"), ["l3", "of-b2"]),
        (("--since", "5000w", "--type", "error", "--level", "error"), ["l2"]),
    ],
)  # fmt: skip
def test_filters_and_json_lines(words: tuple[str, ...], expected: list[str], events: Any) -> None:
    answer = events("correlated", ORDER, "--json", *words)
    assert answer.code == 0
    assert [json.loads(line)["id"] for line in answer.out.splitlines()] == expected


def test_json_holds_the_event_and_the_tree(events: Any) -> None:
    assert json.loads(events("get", "l2", "--json").out) == order()[7]
    tree = json.loads(events("trace", TRACE, "--json").out)
    assert tree["bottleneck"] == "c2" and tree["missing_parents"] == ["gone"] and tree["duration_ms"] == 409.5
    assert [row["span_id"] for row in tree["spans"]] == ["a1", "b1", "b2", "c1", "c2", "gone", "e1"]
    assert sum(part["duration_ms"] for part in tree["critical_path"]) == pytest.approx(409.5)
    assert tree["spans"][4] == {
        "span_id": "c2", "parent_span_id": "b2", "depth": 2, "service": "payments", "component": "api",
        "operation": "charge card", "start_ms": 161.5, "duration_ms": 206.0, "self_ms": 206.0, "critical_ms": 206.0,
        "skew_ms": 0.0, "error": True, "open": False, "missing": False, "event_ids": ["l2", "of-c2"],
    }  # fmt: skip


def test_local_times_are_those_of_the_zone(server: PrivateRedis) -> None:
    done = run(server, "correlated", ORDER, "--local", TZ="Asia/Kolkata")
    assert "2026-11-24 IST" in done.stdout and "  14:42:01.003  " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("correlated", ORDER, "--since", "yesterday"),
        ("correlated", ORDER, "--label", "env"),
        ("correlated", ORDER, "--level", "loud"),
        ("correlated", ORDER, "--for", "1s"),
        ("correlated", ORDER, "--follow", "--limit", "1"),
        ("trace", TRACE, "--limit", "0"),
        ("get",),
    ],
)
def test_words_that_make_no_sense_exit_2(words: tuple[str, ...], events: Any) -> None:
    assert events(*words).code == 2


def test_a_url_that_is_none_exits_2_and_shows_no_password(events: Any) -> None:
    assert events("get", "x", url="http://me:secret@host").code == 2
    answer = events("get", "x", url="redis://:secret@127.0.0.1:1/0")
    assert answer.code == 1
    assert "127.0.0.1:1" in answer.err and "secret" not in answer.err and "Traceback" not in answer.err


def test_the_redis_section_of_a_config_says_where_to_look(server: PrivateRedis, events: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"redis": {"url": server.url}}))
    assert events("get", "l1", "-c", str(config), url=None).code == 0
    config.write_text(json.dumps({"redis": {"url": server.url, "password_file": "/not/there"}}))
    assert "/not/there" in events("get", "l1", "-c", str(config), url=None).err


def command(server: PrivateRedis, *words: str) -> list[str]:
    return [sys.executable, "-m", "ingestd", "events", *words, "--redis", server.url]


def run(server: PrivateRedis, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "100"} | environment
    return subprocess.run(command(server, *words), env=env, capture_output=True, text=True, timeout=60, check=False)


def test_following_shows_what_comes_and_ctrl_c_ends_it_cleanly(server: PrivateRedis) -> None:
    words = command(server, "correlated", "follow-me", "--follow")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        loader = Loader(server.socket)
        assert process.stdout is not None
        # The first comes before or while it looks: one look that finds it is enough.
        loader.store([at(0, "f1", "log", "shop", "info", "first", correlation_id="follow-me")])
        seen = [process.stdout.readline() for _ in range(2)]
        loader.store([at(1, "f2", "log", "shop", "error", "second", correlation_id="follow-me")])
        seen.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30 * MULTIPLIER)
        loader.close()
    assert [line.split()[-1] for line in seen] == ["UTC", "first", "second"]
    assert (process.returncode, out, err) == (130, "2 events of 1 service in 1.00 ms, 1 error\n", "")


def test_following_ends_with_its_time(events: Any) -> None:
    assert events("correlated", "nobody", "--follow", "--for", "0s").code == 1
    assert len(events("correlated", ORDER, "--follow", "--for", "0s", "--json").out.splitlines()) == 9


def test_a_reader_that_has_enough_is_no_failure(server: PrivateRedis) -> None:
    loader = Loader(server.socket)
    loader.store(at(n, f"many{n}", "log", "s", "info", "m" * 200, correlation_id="many") for n in range(3000))
    loader.close()
    with subprocess.Popen(command(server, "correlated", "many"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout is not None and one.stderr is not None
        one.stdout.readline()
        one.stdout.close()
        assert one.stderr.read() == b""
        assert one.wait(30 * MULTIPLIER) == 0


def test_a_trace_of_many_spans_shows_some_and_says_so(server: PrivateRedis, events: Any) -> None:
    loader = Loader(server.socket)
    loader.store(span(n, f"s{n}", "svc", "op", 1, f"s{n - 1}" if n else None) | {"trace_id": "big"} for n in range(300))
    loader.close()
    out = events("trace", "big").out
    assert "and 100 more spans" in out
    assert "more spans" not in events("trace", "big", "--limit", "300").out
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        assert client.zcard("trace_index:big") == 600
