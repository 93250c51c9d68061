"""Questions to the Kafka cluster that would block the loop: offsets and topics, asked on one helper thread.

Non-obvious: committed offsets, ends of logs and topic descriptions go to the network: never on the loop.
librdkafka waits inside these calls for as long as the time-out says, and the loop would serve no acknowledgement
meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from .._librdkafka import Consumer, PartitionOffset, TopicDescription
from .ledger import Key

NETWORK_TIMEOUT_MS = 5000


class ClusterQueries:
    """Runs on: the loop, but for `join`. Every answer may be a KafkaFailure instead."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._loop = asyncio.get_running_loop()
        # One thread: questions follow each other, and a stop waits for one at most.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-control")

    async def committed(self, keys: Sequence[Key]) -> list[PartitionOffset]:
        """What the group has committed; a row may have an error of its own."""
        return await self._ask(self._consumer.committed, keys, NETWORK_TIMEOUT_MS)

    async def list_offsets(self, rows: Sequence[tuple[str, int, int]]) -> list[PartitionOffset]:
        """The ends of logs as the broker has them, by (topic, partition, BEGINNING or END)."""
        return await self._ask(self._consumer.list_offsets, rows, NETWORK_TIMEOUT_MS)

    async def describe_topics(
        self, topics: Sequence[str], timeout_ms: int = NETWORK_TIMEOUT_MS
    ) -> dict[str, TopicDescription]:
        """The id and the number of partitions of each topic."""
        return await self._ask(self._consumer.describe_topics, topics, timeout_ms)

    async def _ask(self, question: Callable, subject: object, timeout_ms: int):
        return await self._loop.run_in_executor(self._thread, question, subject, timeout_ms)

    def stop(self) -> None:
        """No more questions. One may be under way: see `join`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Runs on: a helper thread. Wait for the question that may be under way, which has its own time-out."""
        self._thread.shutdown(wait=True)
