"""`python -m ingestd.cli.demo.mock_cluster`: librdkafka's mock cluster in a process of its own.

Prints `bootstrap HOST:PORT` and lives until its standard input closes: so it ends with whoever started it.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from ...errors import IngestdError

if TYPE_CHECKING:
    from ..._librdkafka import MockCluster


@click.command()
@click.option("--topic", "topics", multiple=True, metavar="NAME:PARTITIONS", help="Make this topic. May be repeated.")
def command(topics: tuple[str, ...]) -> None:
    """Run a mock Kafka cluster until standard input closes."""
    from ..._librdkafka import MockCluster

    cluster = MockCluster(1)
    create_topics(cluster, {name: int(partitions) for name, partitions in (topic.rsplit(":", 1) for topic in topics)})
    print(f"bootstrap {cluster.bootstraps}", flush=True)
    sys.stdin.read()
    cluster.close()


def create_topics(cluster: "MockCluster", topics: dict[str, int]) -> None:
    """Name -> partitions. All at once: the cluster's thread takes its time for each."""
    with ThreadPoolExecutor(max(1, len(topics))) as pool:
        list(pool.map(cluster.create_topic, topics.keys(), topics.values()))


class MockClusterProcess:
    """The command above as a child process."""

    def __init__(self, topics: dict[str, int]) -> None:
        words = [word for name, partitions in topics.items() for word in ("--topic", f"{name}:{partitions}")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ingestd.cli.demo.mock_cluster", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("bootstrap "):
            self.stop()
            raise IngestdError("the mock cluster did not start")
        self.bootstrap = line.split()[1]

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


if __name__ == "__main__":
    command()
