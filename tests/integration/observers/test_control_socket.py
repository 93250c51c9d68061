"""The control socket of a real daemon on the mock cluster: top, tap and reload as people call them."""

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingestd._librdkafka import MockCluster
from ingestd.cli.shared.daemon_client import _UnixConnection as UnixConnection
from tests.support.daemon_process import DaemonProcess
from tests.support.harness import event, mock_cluster, publish
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    node = mock_cluster()
    yield node
    node.close()


@pytest.fixture
def daemon(cluster: MockCluster, redis_node: RedisNode, tmp_path: Path) -> Iterator[DaemonProcess]:
    rules = [{"name": "no debug", "match": {"levels": ["debug"]}, "action": "drop"}]
    process = DaemonProcess(
        tmp_path, cluster.bootstraps, redis_node.url, rules=rules, control={"socket": str(tmp_path / "control.sock")}
    ).start()
    process.wait_joined()
    yield process
    process.kill()


def ingestd(*words: str, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingestd", *words, "-c", str(config)], capture_output=True, text=True, timeout=60
    )


def change(daemon: DaemonProcess, **sections: Any) -> None:
    config = yaml.safe_load(daemon.config_path.read_text())
    daemon.config_path.write_text(yaml.safe_dump(config | sections))


def test_only_the_owner_and_the_group_may_use_the_socket(daemon: DaemonProcess, tmp_path: Path):
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660
    assert daemon.stop() == 0
    assert not (tmp_path / "control.sock").exists()


def test_a_tap_shows_what_matches_with_its_fate_and_masked(cluster: MockCluster, daemon: DaemonProcess):
    words = [sys.executable, "-m", "ingestd", "tap", "-c", str(daemon.config_path)]
    words += ["--service", "shop", "--mask", "metadata.user", "--dead", "--count", "3", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # The daemon says in its counters when a tap is open; until then events would pass unseen.
        wait_until(lambda: _taps(daemon) == 1, "the tap is open")
        publish(cluster, [event("a", service="other"), event("b", service="shop", metadata={"user": "me", "n": 1})])
        publish(cluster, [b'{"id": "cut'])
        publish(cluster, [event("c", service="shop", level="debug")])
        out, err = process.communicate(timeout=60)
    rows = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, err
    assert [row["verdict"] for row in rows] == ["routed", "dead", "dropped"]
    assert rows[0]["event"]["metadata"] == {"user": "***", "n": 1} and rows[0]["topics"] == ["observability.logs"]
    assert rows[1]["fault"] == "not_json" and rows[1]["text"] == "***"
    wait_until(lambda: _taps(daemon) == 0, "and closed with whoever looked on")


def _taps(daemon: DaemonProcess) -> int:
    done = ingestd("top", "--times", "1", "--interval", "0.1", "--json", config=daemon.config_path)
    return json.loads(done.stdout)["taps"] if done.returncode == 0 else -1


def test_a_tap_that_matches_nothing_that_there_is_is_refused(daemon: DaemonProcess):
    done = ingestd("tap", "--type", "alrt", config=daemon.config_path)
    assert done.returncode == 2
    assert "'alrt' is not one of" in done.stderr and "Did you mean alert?" in done.stderr


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "not valid JSON"),
        (b'{"mask":["\xff"]}', "not valid UTF-8"),
        (b'{"match":' + b"[" * 5000, "nested more than 500"),
        (b'{"rate":0}', ""),
    ],
)
def test_a_tap_that_asks_for_nonsense_is_told_why(daemon: DaemonProcess, tmp_path: Path, body: bytes, why: str):
    connection = UnixConnection(str(tmp_path / "control.sock"), 20.0)
    connection.request("POST", "/tap", body)
    answer = connection.getresponse()
    assert answer.status == 400 and why in answer.read().decode()
    connection.close()


def test_reload_says_what_it_changed_and_what_waits_for_a_restart(cluster: MockCluster, daemon: DaemonProcess):
    change(daemon, rules=[], storage={"logs_ttl_s": 60}, logging={"format": "plain"})
    done = ingestd("reload", config=daemon.config_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "changed  storage.logs_ttl_s",
        "changed  rules",
        "restart  logging.format needs a restart",
    ]
    publish(cluster, [event("a", level="debug")])
    wait_until(lambda: daemon.column("delivered") == 1, "no rule drops it any more")
    assert ingestd("reload", config=daemon.config_path).stdout.splitlines()[-1].startswith("restart")


def test_reload_of_a_bad_file_exits_78_and_changes_nothing(daemon: DaemonProcess, tmp_path: Path):
    change(daemon, rules=[{"name": "r", "action": "drop", "topics": ["x"]}])
    done = ingestd("reload", config=daemon.config_path)
    assert done.returncode == 78
    assert "rules[0].topics" in done.stdout + done.stderr
    assert daemon.running()


def test_sigusr1_writes_every_stack_and_the_ledger_to_the_log(cluster: MockCluster, daemon: DaemonProcess):
    publish(cluster, [event("a")])
    wait_until(lambda: daemon.column("delivered") == 1, "it is done")
    daemon.signal(signal.SIGUSR1)
    wait_until(lambda: any(line["message"] == "state" for line in daemon.log_lines()), "it tells its state")
    stacks = {line["thread_name"]: line["stack"] for line in daemon.log_lines() if line["message"] == "stack"}
    assert any("diagnostics.py" in row for row in stacks["MainThread"])
    (state,) = (line for line in daemon.log_lines() if line["message"] == "state")
    assert state["ledger"]["partitions"]["observability.events-0"]["next_offset"] == 1
    assert any("HealthReports.run" in task for task in state["tasks"])
    assert daemon.running() and daemon.stop() == 0


def test_top_shows_one_picture_in_words(cluster: MockCluster, daemon: DaemonProcess):
    publish(cluster, [event(str(n)) for n in range(50)])
    done = ingestd("top", "--times", "1", "--interval", "0.5", config=daemon.config_path)
    assert done.returncode == 0, done.stderr
    for words in ("bottleneck", "The loop's time", "Lag: ", "observability.events-0"):
        assert words in done.stdout
    # Which of the two is the machine's affair.
    assert "Nothing: it keeps up." in done.stdout or "CPU is short" in done.stdout


def test_a_daemon_that_is_not_there_is_a_failure_that_says_where(tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(f"control: {{socket: {tmp_path}/none.sock}}")
    for verb in ("top", "tap", "reload"):
        done = ingestd(verb, config=config)
        assert done.returncode == 1 and f"{tmp_path}/none.sock" in done.stderr and "Traceback" not in done.stderr
