"""Reads the times of records that were not taken: seconds of lag come from them.

A consumer of its own that never joins the group, commits nothing and fetches a little: `ingestd lag` dates what waits
by it, and the daemon what it has not taken itself.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, TopicPartition

from ..config.kafka_consumers import record_time_options
from ..config.schema import KafkaConfig
from ..pipeline.ledger import Key

# One fetch a partition. librdkafka asks for more by itself where the first batch of records is larger.
READ_BYTES: Final = 64 * 1024
# How long one look may take, for all of its partitions together, and how many of those there may be.
READ_TIMEOUT_S: Final = 5.0
READ_PARTITIONS_MAX: Final = 64
POLL_S: Final = 0.1
# A place that is new is looked at when the partition stands there this long: most go on at once. One that goes on
# slowly is looked at this seldom.
STANDS_S: Final = 0.4
MOVES_S: Final = 2.0
# Without an answer (the cluster is silent, or the log has only transaction markers there) a place is asked for again
# after this long.
AGAIN_S: Final = 30.0
# The consumer is kept for the next look so long: its threads and connections are not free.
REST_S: Final = 30.0
NO_TIME: Final = -1


class Place(NamedTuple):
    """A record of a partition: only of this assignment, as a topic may be recreated between two."""

    generation: int
    offset: int


class RecordTimeReader:
    """Runs on: one thread that may wait, but for `give_up`."""

    def __init__(self, kafka: KafkaConfig, client_id: str) -> None:
        self._options = record_time_options(kafka, client_id, READ_BYTES)
        self._consumer: Consumer | None = None
        self._given_up = False

    @property
    def consumer(self) -> Consumer:
        """Made when it is needed. Raises KafkaException."""
        if self._consumer is None:
            self._consumer = Consumer(self._options)
        return self._consumer

    @property
    def awake(self) -> bool:
        return self._consumer is not None

    def times_ms(self, offsets: Mapping[Key, int], timeout_s: float = READ_TIMEOUT_S) -> dict[Key, int]:
        """The time of the first record at or after each offset; NO_TIME where it has none. What did not come in time
        is missing."""
        found: dict[Key, int] = {}
        if not offsets or self._given_up:
            return found
        try:
            consumer = self.consumer
            consumer.assign([TopicPartition(*key, offset) for key, offset in offsets.items()])
            deadline_s = time.monotonic() + timeout_s
            while len(found) < len(offsets) and time.monotonic() < deadline_s and not self._given_up:
                for message in consumer.consume(500, POLL_S):
                    key = (message.topic(), message.partition())
                    if message.error() is None and key in offsets and key not in found:
                        kind, stamp_ms = message.timestamp()
                        found[key] = NO_TIME if kind == TIMESTAMP_NOT_AVAILABLE else stamp_ms
                        consumer.pause([TopicPartition(*key)])
            # A pause outlives the assignment: the next look would wait for nothing.
            consumer.resume([TopicPartition(*key) for key in found])
            consumer.unassign()
        except KafkaException:
            pass  # the rest has no answer
        return found

    def rest(self) -> None:
        """Close the consumer until it is needed again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def give_up(self) -> None:
        """Runs on: any thread. The look under way ends soon, and no other begins."""
        self._given_up = True


class RecordTimes:
    """Runs on: the loop. Known times are kept while somebody wants them; reads run on a thread aside, one at a time.

    now_s: monotonic.
    """

    def __init__(self, reader: RecordTimeReader, now_s: Callable[[], float]) -> None:
        self._reader = reader
        self._now_s = now_s
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-times")
        self._known: dict[Key, tuple[Place, int]] = {}
        self._asked: dict[Key, tuple[Place, float]] = {}
        self._since: dict[Key, tuple[Place, float]] = {}
        self._aside: asyncio.Task[None] | None = None
        self._used_s = now_s()
        self._stopped = False

    def find(self, wanted: Mapping[Key, Place]) -> dict[Key, int]:
        """Times of these records as far as they are known. Those that are not are looked for, for the next call."""
        now_s = self._now_s()
        for kept in (self._known, self._since):
            for key in kept.keys() - wanted.keys():
                del kept[key]
        for key in [key for key, (_, asked_s) in self._asked.items() if now_s - asked_s > 2 * AGAIN_S]:
            del self._asked[key]
        for key, place in wanted.items():
            if key not in self._since or self._since[key][0] != place:
                self._since[key] = (place, now_s)
        found = {key: self._known[key][1] for key, place in wanted.items() if self._is_known(key, place)}
        if self._aside is None and not self._stopped:
            self._look({key: place for key, place in wanted.items() if self._is_due(key, place, now_s)}, now_s)
        return {key: time_ms for key, time_ms in found.items() if time_ms != NO_TIME}

    def _is_known(self, key: Key, place: Place) -> bool:
        return key in self._known and self._known[key][0] == place

    def _is_due(self, key: Key, place: Place, now_s: float) -> bool:
        if self._is_known(key, place):
            return False
        if key in self._asked and self._asked[key][0] == place:
            return now_s - self._asked[key][1] >= AGAIN_S
        if key not in self._asked or self._asked[key][0].generation != place.generation:
            return True  # the first of an assignment may be from long ago
        return now_s - self._since[key][1] >= STANDS_S and now_s - self._asked[key][1] >= MOVES_S

    def _look(self, due: dict[Key, Place], now_s: float) -> None:
        if due:
            some = dict(list(due.items())[:READ_PARTITIONS_MAX])
            self._used_s = now_s
            self._asked |= {key: (place, now_s) for key, place in some.items()}
            self._aside = self._loop.create_task(self._ask(some))
        elif self._reader.awake and now_s - self._used_s >= REST_S:
            self._used_s = now_s
            self._aside = self._loop.create_task(self._rest())

    async def _ask(self, places: dict[Key, Place]) -> None:
        offsets = {key: place.offset for key, place in places.items()}
        try:
            times = await self._loop.run_in_executor(self._thread, self._reader.times_ms, offsets)
            self._known |= {key: (places[key], time_ms) for key, time_ms in times.items()}
        finally:
            self._aside = None

    async def _rest(self) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._reader.rest)
        finally:
            self._aside = None

    def stop(self) -> None:
        """No look begins any more; the one under way ends soon."""
        self._reader.give_up()
        self._stopped = True
        if self._aside is not None:
            self._aside.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Runs on: a helper thread. After `stop`: wait for the look under way, and close the consumer."""
        self._thread.shutdown(wait=True)
        self._reader.rest()
