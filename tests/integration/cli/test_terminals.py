"""Every verb on terminals of several widths and kinds: what screens show, and that Ctrl-C leaves them in order."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.integration.cli.world import CORRELATION, SERVICE, World, built, json_values
from tests.support.terminal import ASCII, environment, terminal
from tests.support.wait import wait_until

EXIT_INTERRUPTED = 130
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38|4[0-7])[;m]")
# What must be whole on the screen at any width, however it is broken into lines.
SHOWN = {
    "validate": ("checked the config", "fine"),
    "test": ("routed", "observability.logs", "invalid_utf8"),
    "top": ("received", "delivered", "observability.events-0", "log end", "waiting"),
    "tap": ("grüße → ✓ 服务 [bold]not markup[/] :smile:", SERVICE, "observability.logs"),
    "lag": ("observability.events", "committed", "log end", "seconds"),
    "events get": ("grüße → ✓ 服务 [bold]not markup[/] :smile:", SERVICE, CORRELATION),
    "events correlated": ("grüße → ✓ 服务 [bold]not markup[/] :smile:", SERVICE, "gateway-adapter", "4 events"),
    "events trace": (f"{SERVICE} step 2", "5.00 ms", "bottleneck"),
    "compare": ("equal", "old", "new"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with built(tmp_path_factory.mktemp("w")) as made:
        yield made


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("verb", SHOWN)
def test_nothing_that_matters_is_cut_at_any_width(world: World, verb: str, columns: int) -> None:
    with terminal(*world.words[verb], columns=columns) as seen:
        assert seen.wait() == 0, seen.text()
        screen = seen.screen()
    assert screen.unknown == [], "nothing of an event is a command for the terminal"
    assert "…" not in screen.text
    for words in SHOWN[verb]:
        assert squeezed(words) in squeezed(screen.text), screen.text
    assert screen.cursor_shown


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_demo_s_report_is_whole_at_any_width(columns: int) -> None:
    with terminal("demo", "--seconds", "1", columns=columns) as seen:
        assert seen.wait(90) == 0, seen.text()
        screen = seen.screen()
    report = screen.text[screen.text.index("The books") :]
    assert "…" not in report and screen.unknown == []
    for words in ("received", "abandoned", "dead lettered", "in flight", "They balance: yes", "payments charge card"):
        assert all(word in report for word in words.split()), report


@pytest.mark.parametrize("verb", SHOWN)
def test_an_ascii_terminal_gets_plain_characters(world: World, verb: str) -> None:
    with terminal(*world.words[verb], env=environment(**ASCII)) as seen:
        assert seen.wait() == 0, seen.text()
    assert seen.raw.isascii()


@pytest.mark.parametrize("verb", ["top", "lag", "validate", "events trace", "tap"])
def test_a_dumb_terminal_gets_no_codes_and_every_picture(world: World, verb: str) -> None:
    with terminal(*world.words[verb], env=environment(TERM="dumb"), columns=100) as seen:
        assert seen.wait() == 0
    assert b"\x1b" not in seen.raw
    if verb == "top":
        assert seen.text().count("bottleneck") == 2


@pytest.mark.parametrize("verb", ["top", "lag", "validate", "events trace", "tap"])
def test_no_color_is_obeyed(world: World, verb: str) -> None:
    with terminal(*world.words[verb], env=environment(NO_COLOR="1")) as seen:
        assert seen.wait() == 0
    assert not COLOUR.search(seen.raw.decode())


@pytest.mark.parametrize(
    "verb", ["top", "tap", "lag", "test", "validate", "events correlated", "events trace", "compare"]
)
def test_json_on_a_terminal_is_json_and_nothing_else(world: World, verb: str) -> None:
    with terminal(*world.with_json()[verb], only_stdout=True) as seen:
        assert seen.wait() == 0
    assert b"\x1b" not in seen.raw
    assert json_values(seen.text())


@pytest.mark.parametrize(
    ("words", "begun"),
    [
        (("top", "--interval", "0.2"), "bottleneck"),
        (("top", "--interval", "0.2", "--json"), '"bottleneck"'),
        (("tap",), "routed"),
        (("events", "correlated", CORRELATION, "--follow"), "gateway-adapter"),
        (("test",), None),
    ],
    ids=["top", "top as JSON", "tap", "events", "test"],
)
def test_ctrl_c_ends_a_verb_with_130_and_the_terminal_as_it_was(world: World, words, begun: str | None) -> None:
    with terminal(*words, "-c", str(world.daemon.config_path)) as seen:
        if begun is not None:
            seen.read_until(lambda: begun in seen.text(), "it has begun")
        else:
            seen.type(b'{"id": "typed"}\n')
            seen.read_until(lambda: "line 1  " in seen.text(), "a line that was typed is answered at once")
        seen.press_ctrl_c()
        code = seen.wait(10)
        assert code == EXIT_INTERRUPTED
        assert "Traceback" not in seen.text() and seen.modes_are_kept()
        assert seen.screen().cursor_shown


@pytest.mark.parametrize("verb", ["lag", "compare", "topics create"])
def test_ctrl_c_ends_a_verb_that_waits_for_a_cluster_at_once(tmp_path, verb: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("kafka: {brokers: ['127.0.0.1:1'], topics: {raw_data: old}}\nhttp: {listen: null}\n")
    with terminal(*verb.split(), "-c", str(config)) as seen:
        wait_until(lambda: has_thread(seen.process.pid, "rdk:"), "librdkafka tries to connect")
        seen.press_ctrl_c()
        assert seen.wait(4) == EXIT_INTERRUPTED
        assert "Traceback" not in seen.text()


def has_thread(pid: int, head: str) -> bool:
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{name}/comm") as file:
                if file.read().startswith(head):
                    return True
    except OSError:
        pass
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_shows_the_cursor_again_and_ends_by_the_signal(world: World, number: int) -> None:
    with terminal("top", "--interval", "0.2", "-c", str(world.daemon.config_path)) as seen:
        seen.read_until(lambda: "bottleneck" in seen.text(), "it has begun")
        os.kill(seen.process.pid, number)
        assert seen.wait(10) == -number
        assert seen.screen().cursor_shown and "Traceback" not in seen.text()


def test_a_terminated_demo_leaves_no_process_and_no_folder(tmp_path) -> None:
    with terminal("demo", "--seconds", "60", "--rate", "100", env=environment(TMPDIR=str(tmp_path))) as seen:
        seen.read_until(lambda: "received 1" in seen.text(), "events pass")
        os.kill(seen.process.pid, signal.SIGTERM)
        assert seen.wait(30) == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
