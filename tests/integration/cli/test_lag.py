"""`ingestd lag` against the mock cluster: what is committed, what is behind, and how old it is."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.support.daemon_process import INPUT, DaemonProcess
from tests.support.harness import event, mock_cluster, publish


@pytest.fixture
def cluster():
    node = mock_cluster(partitions=2)
    yield node
    node.close()


def lag(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingestd", "lag", "-c", str(config), *words], capture_output=True, text=True, timeout=60
    )


def commit(bootstrap: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ingestd", "log_level": 0})
    consumer.commit(offsets=[TopicPartition(INPUT, 0, offset)], asynchronous=False)
    consumer.close()


def test_lag_counts_from_the_commit_and_dates_the_oldest_record_that_waits(cluster, tmp_path: Path):
    config = DaemonProcess(tmp_path, cluster.bootstraps, "redis://127.0.0.1:1/0").config_path
    old_ms = int(time.time() * 1000) - 100_000
    publish(cluster, [event(str(n)) for n in range(4)], timestamp=old_ms - 50_000)
    publish(cluster, [event(str(n)) for n in range(6)], timestamp=old_ms)
    commit(cluster.bootstraps, 4)
    done = lag(config, "--json")
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    first, second = state["partitions"]
    assert (first["committed"], first["log_end"], first["records"]) == (4, 10, 6)
    assert 100 <= first["seconds"] <= time.time() - old_ms / 1000
    # Nothing was committed there and nothing waits: that is no lag of -1, and no age.
    assert (second["committed"], second["records"], second["seconds"]) == (-1, 0, 0.0)
    assert state["records"] == 6 and state["seconds"] == first["seconds"]


def test_lag_of_a_group_that_read_everything_is_zero(cluster, tmp_path: Path):
    config = DaemonProcess(tmp_path, cluster.bootstraps, "redis://127.0.0.1:1/0").config_path
    publish(cluster, [event("1"), event("2")])
    commit(cluster.bootstraps, 2)
    done = lag(config)
    assert done.returncode == 0, done.stderr
    assert "Group ingestd: 0 records behind" in done.stdout


def test_lag_without_a_broker_is_a_failure_that_says_so(tmp_path: Path):
    config = DaemonProcess(tmp_path, "127.0.0.1:1", "redis://127.0.0.1:1/0").config_path
    done = lag(config)
    assert done.returncode == 1
    assert done.stderr.startswith("ingestd: ") and "Traceback" not in done.stderr
