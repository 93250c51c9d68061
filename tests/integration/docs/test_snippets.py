"""The programs and commands of README, docs/tutorial.md and docs/look-ups.md do what the pages show."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.config.loading import load
from tests.support.documents import OpenShop, blocks, open_shop, snippets
from tests.support.wait import MULTIPLIER, wait_until

pytestmark = pytest.mark.timeout(180 * MULTIPLIER)
TUTORIAL = blocks("docs/tutorial.md")
LIMIT_S = 60 * MULTIPLIER


@pytest.fixture(scope="module")
def shop() -> Iterator[OpenShop]:
    with open_shop() as opened:
        yield opened


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader of the tutorial has saved its programs."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, text in zip(("slow.py", "why.py"), snippets("docs/tutorial.md", "python"), strict=True):
        (folder / name).write_text(text)
    return folder


def masked(text: str) -> list[str]:
    """What is the same in every run: ids, figures and bars differ."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"[█▒]+[█▒ ]*", "█ ", text)
    return sorted(re.sub(r"\s+", " ", re.sub(r"\d+", "0", line)).strip() for line in text.splitlines())


def shown_after(command: str) -> str:
    """The output that the tutorial shows for a command: the block that follows it."""
    (place,) = [n for n, block in enumerate(TUTORIAL) if block.language == "sh" and command in block.text]
    assert TUTORIAL[place + 1].language == "", f"no output is shown for {command}"
    return TUTORIAL[place + 1].text


def answer(shop: OpenShop, folder: Path, command: str) -> str:
    done = shop.run(["bash", "-e", "-c", command], folder, LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    # `tap` counts on standard error what it shows on standard output.
    return done.stdout + done.stderr


def ready(shop: OpenShop, folder: Path, command: str) -> str:
    """The answer of a look-up as soon as it is the one that is shown: events are on their way for some milliseconds."""
    shown = masked(shown_after(command))

    def same() -> str | None:
        done = shop.run(shlex.split(command), folder, LIMIT_S)
        return done.stdout if masked(done.stdout) == shown else None

    wait_until(lambda: same() is not None, f"`{command}` answers as the tutorial shows", LIMIT_S)
    found = same()
    assert found is not None
    return found


def test_the_front_page_publishes_and_finds_what_it_published(shop: OpenShop, tmp_path: Path):
    config = load(shop.config_path)
    (program,) = snippets("README.md", "python")
    program = program.replace("localhost:9092", config.kafka.brokers[0])
    program = program.replace("redis://localhost:6379/0", config.redis.url)
    program = program.replace('"order-7"', '"front-page"')  # the shop has an order of that number
    program = program.replace("for_s=2", f"for_s={2 * MULTIPLIER}")
    # The program has two seconds for what takes milliseconds, once the daemon reads.
    first = ["ingestd", "events", "correlated", "order-0"]
    wait_until(lambda: shop.run(first, tmp_path, LIMIT_S).returncode == 0, "the first order is stored", LIMIT_S)
    done = shop.run([sys.executable, "-W", "error", "-c", program], tmp_path, LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert sorted(line.split(maxsplit=2)[2] for line in done.stdout.splitlines()) == [
        "info checkout Metric: items_left = 2",
        "info checkout order accepted",
        "warning checkout two items are left",
    ]


def test_the_look_ups_page_has_a_program_that_runs(shop: OpenShop, tmp_path: Path):
    (program,) = snippets("docs/look-ups.md", "python")
    program = program.replace("redis://localhost:6379/0", load(shop.config_path).redis.url)
    done = shop.run([sys.executable, "-W", "error", "-c", program], tmp_path, LIMIT_S)
    assert done.returncode == 0, done.stderr


def test_the_tutorial_finds_why_a_request_was_slow(shop: OpenShop, programs: Path):
    assert "bottleneck" in answer(shop, programs, "ingestd top --times 1")
    assert "ingestd top --times 5\n" in snippets("docs/tutorial.md", "sh")
    tapped = answer(shop, programs, "ingestd tap --level error --count 2").splitlines()
    shown = shown_after("ingestd tap --level error --count 2").splitlines()
    assert len(tapped) == len(shown)
    ready(shop, programs, "ingestd events correlated order-4")

    command = answer(shop, programs, "SERVICE_NAME=my-shop python slow.py")
    assert masked(command) == masked(shown_after("SERVICE_NAME=my-shop python slow.py"))
    trace_id = command.split()[-1]
    wait_until(lambda: "5 spans" in shop.run(shlex.split(command), programs, LIMIT_S).stdout, "the trace", LIMIT_S)
    assert masked(answer(shop, programs, command)) == masked(shown_after("ingestd events trace"))
    ready(shop, programs, "ingestd events correlated my-order --type log")
    why = answer(shop, programs, f"python why.py {trace_id}")
    assert masked(why) == masked(shown_after("python why.py"))

    (rule,) = [text for text in snippets("docs/tutorial.md", "sh") if "ingestd reload" in text]
    assert masked(answer(shop, programs, rule)) == masked(shown_after("ingestd reload"))


def test_every_command_of_the_tutorial_is_one_that_is_tested_here():
    """Beside those that set up: a new one needs a line above."""
    tested = Path(__file__).read_text()
    set_up = ("make demo", "source .venv/bin/activate", "python examples/", "export INGESTD_CONFIG=")
    lines = [line for text in snippets("docs/tutorial.md", "sh") for line in text.splitlines()]
    own = [line for line in lines if not line.startswith((*set_up, "echo ", "ingestd reload", "ingestd tap --type"))]
    known = [re.sub(r" [0-9a-f]{32}$", "", line) for line in own]
    assert [line for line in known if line not in tested] == []
