"""The Kafka sink. Batches with their sends in; batches of which every send was acknowledged out.

Nothing is given up: a send waits, is sent again, or goes to the dead letters, and a dead letter is a send like another.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from random import Random

from ingestd._fastpath import Batch
from ingestd._librdkafka import (
    KafkaNotice,
    Producer,
    Refusal,
    add_dead_letter,
    error_name,
    rearm,
    rearm_as_dead_letter,
    refusals,
)
from ingestd.backoff import delay_s
from ingestd.logs import Sparing
from ingestd.metrics import Counters
from ingestd.model import DEAD_LETTER_TOPIC_INDEX, TYPE_NAMES, Fault

# Errors with which the broker refuses a whole request because of one record in it: each is tried again alone.
BATCH_REJECTING = frozenset(
    (
        2,  # INVALID_MSG: a corrupt record
        10,  # MSG_SIZE_TOO_LARGE
        18,  # RECORD_LIST_TOO_LARGE
        32,  # INVALID_TIMESTAMP
        87,  # INVALID_RECORD
        -138,  # _INVALID_DIFFERENT_RECORD: another record of the same request was the bad one
    )
)
FATAL = -150  # _FATAL: this handle produces nothing any more
PURGED = frozenset((-152, -151))  # _PURGE_QUEUE, _PURGE_INFLIGHT: taken back by ourselves


class KafkaSink:
    """Runs on: the loop. `on_done(batch)` is called when a batch owes Kafka nothing any more.

    make_producer(alone): a new handle; `alone` is the one that sends one record a request.
    """

    def __init__(
        self,
        make_producer: Callable[[bool], Producer],
        on_done: Callable[[Batch], None],
        counters: Counters,
        on_notice: Callable[[KafkaNotice], None],
        log: logging.Logger,
        random: Random,
    ) -> None:
        self._make_producer = make_producer
        self._on_done = on_done
        self._counters = counters
        self._on_notice = on_notice
        self._log = log
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._sparing = Sparing(log, 10.0, self._loop.time)
        self._producer = self._start(False)
        self._alone: Producer | None = None  # made when it is first needed
        self._open: dict[int, Batch] = {}
        self._queue: deque[Batch] = deque()  # those that the full producer did not take whole, in order
        self._recovering = False
        self._tries: dict[int, int] = {}  # batch id -> how often it was sent again
        self._alone_tried: set[int] = set()  # batch ids of which each record was tried alone
        self.was_fatal = 0
        self._own_before = 0  # of handles that were renewed

    def _start(self, alone: bool) -> Producer:
        producer = self._make_producer(alone)
        self._loop.add_reader(producer.main_fd, self._serve, producer)
        # What came before the reader was there gives no event.
        self._loop.call_soon(self._serve, producer)
        return producer

    @property
    def open_count(self) -> int:
        """Batches that owe acknowledgements."""
        return len(self._open)

    @property
    def refused_count(self) -> int:
        """Batches of which Kafka refused something, and which are sent again."""
        return len(self._tries)

    @property
    def queue_length(self) -> int:
        """Records that Kafka has not acknowledged, the daemon's own among them."""
        return self._producer.queue_length

    @property
    def own_acknowledged(self) -> int:
        """Records of the daemon itself that Kafka has."""
        return self._own_before + self._producer.own_delivered

    def submit(self, batch: Batch) -> None:
        """Take a batch. Called once a batch, on the loop, and again when dead letters were added to it."""
        if batch.send_count == 0:
            self._on_done(batch)
            return
        self._open[batch.batch_id] = batch
        if self._queue or self._recovering:
            self._queue.append(batch)
        else:
            self._send(batch)

    def bury(self, batch: Batch, record_indexes: list[int]) -> None:
        """Records that another sink refused for good: a dead letter for each, and the batch owes Kafka again."""
        for record_index in sorted(set(record_indexes)):
            if batch.mark_dead(record_index):
                self._counters.add("ingestd_dead_letters_total", Fault.REJECTED_BY_REDIS.name.lower())
                add_dead_letter(batch, record_index, Fault.REJECTED_BY_REDIS, DEAD_LETTER_TOPIC_INDEX)
        self.submit(batch)

    def add_topics(self, names: list[str]) -> None:
        """More output topics, numbered on; handles that are made later have them by `make_producer`."""
        for producer in (self._producer, self._alone):
            if producer is not None:
                producer.add_topics(names)

    def send_own(self, topic_index: int, value: bytes, key: bytes | None = None) -> bool:
        """A record of the daemon itself; False when it was refused. Nobody waits for its acknowledgement."""
        return self._producer.send_own(topic_index, value, key)

    def _send(self, batch: Batch) -> None:
        if not self._producer.send_many(batch):
            self._queue.append(batch)
        elif batch.sends_pending == 0:
            self._settle(batch)

    def _serve(self, producer: Producer) -> None:
        """The producer's eventfd: delivery reports and notices."""
        if producer is not self._producer and producer is not self._alone:
            return  # destroyed, or about to be
        _clear(producer.main_fd)
        reported, notices = producer.serve()
        for notice in notices:
            self._on_notice(notice)
        for batch in reported:
            if batch.batch_id in self._open and not batch.sends_waiting and batch.sends_pending == 0:
                self._settle(batch)
        if any(notice.fatal for notice in notices) or (producer is self._producer and self._recovering):
            self._recover()
        elif self._queue and not self._recovering:
            self._send_queued()

    def _send_queued(self) -> None:
        while self._queue:
            batch = self._queue[0]
            if not self._producer.send_many(batch):
                return
            self._queue.popleft()
            if batch.sends_pending == 0:
                self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Every send of the batch was accepted and reported, or refused."""
        if batch.sends_failed == 0:
            del self._open[batch.batch_id]
            self._tries.pop(batch.batch_id, None)
            self._alone_tried.discard(batch.batch_id)
            self._on_done(batch)
            return
        failed = refusals(batch)
        self._count_refusals(failed)
        codes = {refusal.error for refusal in failed}
        if FATAL in codes or codes & PURGED or self._producer.fatal_error():
            self._recover()
        elif codes & BATCH_REJECTING:
            self._send_alone(batch, failed)
        else:
            self._send_later(batch, failed)

    def _count_refusals(self, failed: list[Refusal]) -> None:
        for refusal in failed:
            name = error_name(refusal.error)
            self._counters.add("ingestd_errors_total", "produce", name)
            if refusal.error not in PURGED:
                kind = TYPE_NAMES[refusal.topic_index] if refusal.topic_index < len(TYPE_NAMES) else "other"
                self._sparing.say(
                    logging.WARNING, "kafka refused records, they are sent again", (name, kind), error=name, type=kind
                )

    def _send_later(self, batch: Batch, failed: list[Refusal]) -> None:
        """A refusal that may end by itself, such as a topic that is not there yet: for ever, with back-off."""
        for refusal in failed:
            rearm(batch, refusal.send_index)
        tries = self._tries[batch.batch_id] = self._tries.get(batch.batch_id, 0) + 1
        self._loop.call_later(delay_s(tries - 1, self._random), self._send_again, batch, batch.batch_id)

    def _send_again(self, batch: Batch, batch_id: int) -> None:
        if batch_id not in self._open or not batch.sends_waiting:
            return  # a renewed producer has sent it meanwhile
        if self._recovering or self._queue:
            self._queue.append(batch)
        else:
            self._send(batch)

    def _send_alone(self, batch: Batch, failed: list[Refusal]) -> None:
        """One record a request. What is refused again is bad itself: it becomes a dead letter, and that a stub."""
        first_time = batch.batch_id not in self._alone_tried
        self._alone_tried.add(batch.batch_id)
        tries = self._tries[batch.batch_id] = self._tries.get(batch.batch_id, 0) + 1
        for refusal in failed:
            if first_time or refusal.error not in BATCH_REJECTING:
                rearm(batch, refusal.send_index)
            elif not refusal.dead:
                if batch.mark_dead(refusal.record_index):
                    self._counters.add("ingestd_dead_letters_total", Fault.REJECTED_BY_KAFKA.name.lower())
                rearm_as_dead_letter(batch, refusal.send_index, Fault.REJECTED_BY_KAFKA, DEAD_LETTER_TOPIC_INDEX)
            elif not refusal.stub:
                rearm_as_dead_letter(batch, refusal.send_index, Fault.NONE, DEAD_LETTER_TOPIC_INDEX, stub=True)
            else:
                self._sparing.say(
                    logging.ERROR,
                    "kafka refuses even the stub of a dead letter: it waits",
                    error=error_name(refusal.error),
                )
                rearm(batch, refusal.send_index)
        if self._alone is None:
            self._alone = self._start(True)
        # A stub that is refused must not spin.
        pause_s = 0.0 if tries <= 4 else delay_s(tries - 4, self._random)
        self._loop.call_later(pause_s, self._enqueue_alone, batch, batch.batch_id)

    def _enqueue_alone(self, batch: Batch, batch_id: int) -> None:
        assert self._alone is not None
        if batch_id not in self._open or not batch.sends_waiting:
            return  # a renewed producer has sent it meanwhile
        if not self._alone.send_many(batch):
            self._loop.call_later(0.05, self._enqueue_alone, batch, batch_id)
        elif batch.sends_pending == 0:
            self._settle(batch)

    def _recover(self) -> None:
        """After a fatal error: take everything back, and send it again in order through a new handle."""
        if not self._recovering:
            self._recovering = True
            self.was_fatal += 1
            code, text = self._producer.fatal_error() or (FATAL, "unknown")
            self._log.error(
                "kafka producer is renewed after a fatal error", extra={"error": error_name(code), "reason": text}
            )
            self._producer.purge()
            # The reports of what is purged wake `_serve`; this serves the case that nothing was queued.
            self._loop.call_soon(self._serve, self._producer)
            return
        if self._producer.queue_length:
            return
        self._loop.remove_reader(self._producer.main_fd)
        self._own_before += self._producer.own_delivered
        destroy_aside(self._producer)
        self._producer = self._start(False)
        self._recovering = False
        for batch_id in sorted(self._open):
            batch = self._open[batch_id]
            for refusal in refusals(batch):
                rearm(batch, refusal.send_index)
        self._queue = deque(
            self._open[batch_id] for batch_id in sorted(self._open) if self._open[batch_id].sends_waiting
        )
        self._send_queued()

    def close(self) -> list[Producer]:
        """Stop serving; gives the handles, which the caller destroys on a helper thread."""
        handles = [handle for handle in (self._producer, self._alone) if handle is not None]
        for handle in handles:
            self._loop.remove_reader(handle.main_fd)
        return handles


def _clear(descriptor: int) -> None:
    """Read an eventfd, so that it wakes the loop again."""
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        pass  # another call has read it already


def destroy_aside(handle) -> threading.Thread:
    """Destroy a handle on a thread of its own: librdkafka may take its time."""
    thread = threading.Thread(target=handle.destroy, name="destroy", daemon=True)
    thread.start()
    return thread
