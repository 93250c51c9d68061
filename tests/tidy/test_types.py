"""The client library's types, as other people's checkers see them: mypy --strict and pyright."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TREE = ROOT / "build" / "cython" / "ingestd" / "client"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def check(tool: str) -> None:
    pytest.importorskip(tool, reason=f"{tool} is not there: pip install {tool}")
    if not TREE.is_dir():
        pytest.skip("build/cython is not there: it is made where the package is built, not where a wheel is tested")
    done = subprocess.run([sys.executable, "-m", tool], cwd=ROOT, capture_output=True, text=True, timeout=280)
    if tool == "pyright" and "0 errors" not in done.stdout and " error" not in done.stdout:
        pytest.skip(f"pyright did not run, it needs node: {(done.stdout + done.stderr).strip()[-200:]}")
    assert done.returncode == 0, done.stdout


def test_mypy_strict_has_nothing_to_say():
    check("mypy")


def test_pyright_has_nothing_to_say():
    check("pyright")


# Each line ends with what mypy must say of it; nothing: it is right.
USE = """
from datetime import timedelta
from typing import assert_type
from ingestd.client import AsyncProducer, Delivery, Event, EventStreamingService, Level, Producer, bind
from ingestd.client.producing.delivery import BatchFuture, DeliveryFuture

def threads(producer: Producer) -> None:
    assert_type(producer.publish_log("info", "api", "x", {"a": "b"}, {"n": 1}, correlation_id="c"), DeliveryFuture)
    assert_type(producer.publish_log(Level.INFO, "api", "x").result(5), Delivery)
    assert_type(producer.publish_many([]), BatchFuture)
    producer.publish_trace("t", "s", "op", timedelta(seconds=1), parent_span_id="p")
    producer.publish_log("info", "api", "x", corelation_id="c")  # call-arg
    producer.publish_log("info", "api")  # call-arg
    producer.publish_metric("api", "m", "1")  # arg-type
    producer.publish_log("info", "api", "x", {"a": 1})  # dict-item

async def tasks(producer: AsyncProducer) -> None:
    assert_type(await producer.publish_log("info", "api", "x"), Delivery)
    assert_type(await (await producer.send_log("info", "api", "x")), Delivery)
    assert_type(await (await producer.send_trace("t", "s", "op", 0.1, parent_span_id="p", level="info")), Delivery)
    await producer.send_log("info", "api", "x", corelation_id="c")  # call-arg
    await producer.send_log("info", "api")  # call-arg
    await producer.send_metric("api", "m", "1")  # arg-type
    assert_type(await producer.publish_many([]), int)

def service(service: EventStreamingService) -> list[Event]:
    with bind(correlation_id="c"), service.trace("op") as span:
        assert_type(span.trace_id, str)
    assert_type(service.start_trace("op"), tuple[str, str])
    assert_type(service.inject({"a": "b"}), dict[str, str])
    return service.get_correlated_events("c")
"""


def test_a_program_that_uses_it_is_checked(tmp_path: Path):
    pytest.importorskip("mypy", reason="mypy is not there: pip install mypy")
    if not TREE.is_dir():
        pytest.skip("build/cython is not there")
    path = tmp_path / "use.py"
    path.write_text(USE)
    words = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-codes", str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    found = {int(line.split(":")[1]): line for line in done.stdout.splitlines() if ": error:" in line}
    wanted = {number: line.split("# ")[1] for number, line in enumerate(USE.splitlines(), 1) if "  # " in line}
    assert found.keys() == wanted.keys(), done.stdout
    assert all(f"[{code}]" in found[number] for number, code in wanted.items()), done.stdout
