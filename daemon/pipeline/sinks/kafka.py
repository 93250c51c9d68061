"""Sends what a batch became to Kafka, and says when every record of it was acknowledged.

Nothing is given up. A send that could not be delivered gets, in `_settle`:

    the queue is full               its batch waits in order, until reports have made room
    a missing topic or right, ...   `_send_later`: sent again for ever, with back-off
    a refusal of a whole request    `_send_alone`: each record of the batch once more, one a request
    the same again, alone           the record itself is bad: a dead letter of class rejected_by_kafka
    the same for that dead letter   a stub of it: no headers of the source, and the beginning of the value
    the same for the stub           it is sent again, with back-off, and the log says so
    fatal, or purged                `_recover`: all is taken back, and sent by a new handle in the order of the offsets

What passes by itself is not seen here: librdkafka tries again without a time limit, and idempotence keeps the order.

Non-obvious: `message.timeout.ms` is 0, so librdkafka retries for ever. Its default of 300 s reports as failed what may
have been written, and what is sent again then stands in Kafka twice.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable

from ..._fastpath import Batch
from ..._librdkafka import (
    ErrorCode,
    KafkaNotice,
    Producer,
    Refusal,
    add_dead_letter,
    error_name,
    rearm,
    rearm_as_dead_letter,
    refusals,
)
from ...backoff import delay_s
from ...events.vocabulary import DEAD_LETTER_TOPIC_INDEX, TYPE_NAMES, Fault
from ...telemetry.happenings import DEAD_LETTERED, PRODUCE_ERROR
from ...telemetry.loop_phases import PRODUCE
from ...telemetry.runtime import Runtime
from ..handles import destroy_aside

# Errors with which the broker refuses a whole request because of one record in it.
# Non-obvious: one record with a time too far ahead fails its whole request, so each record is tried alone first.
# Only what is refused again by itself is called bad.
BATCH_REJECTING = frozenset(
    (
        ErrorCode.INVALID_MSG,
        ErrorCode.MSG_SIZE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.INVALID_TIMESTAMP,
        ErrorCode.INVALID_RECORD,
        ErrorCode.INVALID_DIFFERENT_RECORD,
    )
)
# A batch that was refused so often, over about three seconds, is no passing trouble any more.
REFUSALS_MIN = 6
PURGED = frozenset((ErrorCode.PURGE_QUEUE, ErrorCode.PURGE_INFLIGHT))  # taken back by ourselves
# The daemon's own records that wait for Kafka. While it is away they would fill memory with old news.
OWN_WAITING_MAX = 64
# Without an acknowledgement for this long, and with something owed, Kafka counts as not answering.
SILENCE_MAX_S = 10.0
# By topic index: the five typed topics, the dead letters, and whatever rules name.
SENT_TYPES = (*TYPE_NAMES, "dead_letter", "other")


class KafkaSink:
    """Runs on: the loop. `on_done(batch)` is called when a batch owes Kafka nothing any more.

    make_producer(alone): a new handle; `alone` is the one that sends one record a request.
    """

    def __init__(
        self,
        *,
        make_producer: Callable[[bool], Producer],
        on_done: Callable[[Batch], None],
        on_notice: Callable[[KafkaNotice], None],
        runtime: Runtime,
    ) -> None:
        self._make_producer = make_producer
        self._on_done = on_done
        self._on_notice = on_notice
        self._counters = runtime.counters
        self._phases = runtime.counters.phases
        self._seconds = runtime.counters.histogram("ingestd_sink_seconds", "kafka")
        self._happenings = runtime.happenings
        self._log = runtime.log
        self._limited_log = runtime.limited_log
        self._random = runtime.random
        self._loop = asyncio.get_running_loop()
        self._producer = self._start(False)
        self._alone: Producer | None = None  # made when it is first needed
        self._open: dict[int, Batch] = {}
        self._queue: deque[Batch] = deque()  # those that the full producer did not take whole, in order
        self._recovering = False
        self._renewal: asyncio.TimerHandle | None = None
        self._renewals = 0  # one after the other, without a batch that was done between them
        self._closed = False
        self._tries: dict[int, int] = {}  # batch id -> how often it was sent again
        self._alone_tried: set[int] = set()  # batch ids of which each record was tried alone
        self.was_fatal = 0
        self._own_before = 0  # of handles that were renewed
        self._own_sent = 0  # of the handle in use
        self._answering = False  # Kafka has acknowledged something, and no notice came since that all brokers are down
        self._own_seen = 0
        self._answered_s = 0.0

    def _start(self, alone: bool) -> Producer:
        producer = self._make_producer(alone)
        self._loop.add_reader(producer.main_fd, self._serve, producer)
        # What came before the reader was there wakes nobody: an eventfd fires when a queue stops being empty.
        self._loop.call_soon(self._serve, producer)
        return producer

    @property
    def open_count(self) -> int:
        """Batches that owe acknowledgements."""
        return len(self._open)

    @property
    def refused_count(self) -> int:
        """Batches of which Kafka refuses something again and again."""
        return sum(tries >= REFUSALS_MIN for tries in self._tries.values())

    @property
    def silent_s(self) -> float:
        """How long Kafka has acknowledged nothing though it owes; 0 when it owes nothing."""
        oldest = next(iter(self._open.values()), None)
        return 0.0 if oldest is None else self._loop.time() - max(self._answered_s, oldest.taken_at_s)

    @property
    def connected(self) -> bool:
        """Whether Kafka answers. Health events ask for an answer at every interval, also when nothing comes in."""
        return self._answering and self.silent_s < SILENCE_MAX_S

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
        phase_before = self._phases.enter(PRODUCE)
        self._open[batch.batch_id] = batch
        if self._queue or self._recovering or self._closed:
            self._queue.append(batch)
        else:
            self._send(batch)
        self._phases.enter(phase_before)

    def add_dead_letters(self, batch: Batch, record_indexes: list[int]) -> None:
        """Records that another sink refused for good: a dead letter for each, and the batch owes Kafka again.

        Non-obvious: dead letters are added to a batch only when none of its sends is pending.
        The opaque of a record is the address of its `send_t`, and adding may move the array.
        """
        for record_index in sorted(set(record_indexes)):
            if batch.mark_dead(record_index):
                self._happenings.note(DEAD_LETTERED, Fault.REJECTED_BY_REDIS.name.lower())
                add_dead_letter(batch, record_index, Fault.REJECTED_BY_REDIS, DEAD_LETTER_TOPIC_INDEX)
        self.submit(batch)

    def add_topics(self, names: list[str]) -> None:
        """More output topics, numbered on; handles that are made later have them by `make_producer`."""
        for producer in (self._producer, self._alone):
            if producer is not None:
                producer.add_topics(names)

    def send_own(self, topic_index: int, value: bytes, key: bytes | None = None) -> bool:
        """A record of the daemon itself; False when it was refused.

        Non-obvious: the daemon's own records belong to no batch and have no opaque, so nothing may wait for them.
        """
        producer = self._producer
        if self._own_sent - producer.own_delivered - producer.own_failed >= OWN_WAITING_MAX:
            return False
        accepted = producer.send_own(topic_index, value, key)
        self._own_sent += accepted
        return accepted

    def _send(self, batch: Batch) -> None:
        if not self._producer.send_many(batch):
            self._queue.append(batch)
        elif batch.sends_pending == 0:
            self._settle(batch)

    def _serve(self, producer: Producer) -> None:
        """The producer's eventfd: delivery reports and notices."""
        if self._closed or producer not in self._handles():
            return  # destroyed, or about to be
        phase_before = self._phases.enter(PRODUCE)
        _clear(producer.main_fd)
        reported, notices = producer.serve()
        self._note_answers(reported, notices)
        for notice in notices:
            self._on_notice(notice)
        for batch in reported:
            if batch.batch_id in self._open and not batch.sends_waiting and batch.sends_pending == 0:
                self._settle(batch)
        if producer not in self._handles():
            pass  # renewed by what was reported last: its fatal error is dealt with
        elif any(notice.fatal for notice in notices) or self._recovering:
            self._recover()
        elif self._queue:
            self._send_queued()
        self._phases.enter(phase_before)

    def _note_answers(self, reported: list[Batch], notices: list[KafkaNotice]) -> None:
        """What came in says whether Kafka is there."""
        if self._own_seen != self.own_acknowledged or any(not batch.sends_failed for batch in reported):
            self._own_seen = self.own_acknowledged
            self._answering = True
            self._answered_s = self._loop.time()
        if any(notice.code == ErrorCode.ALL_BROKERS_DOWN for notice in notices):
            self._answering = False

    def _send_queued(self) -> None:
        while self._queue:
            batch = self._queue[0]
            if not self._producer.send_many(batch):
                return
            self._queue.popleft()
            if batch.sends_pending == 0 and batch.batch_id in self._open:
                self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Every send of the batch was accepted and reported, or refused."""
        if batch.sends_failed == 0:
            del self._open[batch.batch_id]
            self._renewals = 0
            self._tries.pop(batch.batch_id, None)
            self._alone_tried.discard(batch.batch_id)
            self._seconds.observe(self._loop.time() - batch.taken_at_s)
            for topic_index, count in batch.take_sent_counts():
                self._counters.add("ingestd_events_sent_total", "kafka", SENT_TYPES[topic_index], count=count)
            self._on_done(batch)
            return
        failed = refusals(batch)
        self._count_refusals(failed)
        codes = {refusal.error for refusal in failed}
        if self._recovering or ErrorCode.FATAL in codes or codes & PURGED or self._producer.fatal_error():
            self._recover()
        elif codes & BATCH_REJECTING:
            self._send_alone(batch, failed)
        else:
            self._send_later(batch, failed)

    def _count_refusals(self, failed: list[Refusal]) -> None:
        for refusal in failed:
            name = error_name(refusal.error)
            if refusal.error in PURGED:
                self._counters.add("ingestd_errors_total", "produce", name)
            else:
                kind = TYPE_NAMES[refusal.topic_index] if refusal.topic_index < len(TYPE_NAMES) else "other"
                self._happenings.note(PRODUCE_ERROR, "produce", name, type=kind)

    def _send_later(self, batch: Batch, failed: list[Refusal]) -> None:
        """A refusal that may end by itself, such as a topic that is not there yet: for ever, with back-off."""
        for refusal in failed:
            rearm(batch, refusal.send_index)
        tries = self._tries[batch.batch_id] = self._tries.get(batch.batch_id, 0) + 1
        self._loop.call_later(delay_s(tries - 1, self._random), self._send_again, batch, batch.batch_id)

    def _send_again(self, batch: Batch, batch_id: int) -> None:
        if not self._is_due(batch, batch_id):
            return
        if self._queue:
            self._queue.append(batch)
        else:
            self._send(batch)

    def _is_due(self, batch: Batch, batch_id: int) -> bool:
        """Whether a batch still waits for the time that was set. A renewed producer has sent it, or will."""
        waits = batch_id in self._open and batch.sends_waiting and batch not in self._queue
        return waits and not self._recovering and not self._closed

    def _send_alone(self, batch: Batch, failed: list[Refusal]) -> None:
        """One record a request. What is refused again is bad itself: it becomes a dead letter, and that a stub.

        Non-obvious: a record's own headers may be what made its dead letter too large, so a stub leaves them out.
        """
        first_time = batch.batch_id not in self._alone_tried
        self._alone_tried.add(batch.batch_id)
        tries = self._tries[batch.batch_id] = self._tries.get(batch.batch_id, 0) + 1
        for refusal in failed:
            if first_time or refusal.error not in BATCH_REJECTING:
                rearm(batch, refusal.send_index)
            elif not refusal.dead:
                if batch.mark_dead(refusal.record_index):
                    self._happenings.note(DEAD_LETTERED, Fault.REJECTED_BY_KAFKA.name.lower())
                rearm_as_dead_letter(batch, refusal.send_index, Fault.REJECTED_BY_KAFKA, DEAD_LETTER_TOPIC_INDEX)
            elif not refusal.stub:
                rearm_as_dead_letter(batch, refusal.send_index, Fault.NONE, DEAD_LETTER_TOPIC_INDEX, stub=True)
            else:
                self._limited_log.say(
                    logging.ERROR,
                    "kafka refuses even a shortened dead letter: it is sent again later",
                    error=error_name(refusal.error),
                )
                rearm(batch, refusal.send_index)
        # A stub that is refused must not spin.
        pause_s = 0.0 if tries <= 4 else delay_s(tries - 4, self._random)
        self._loop.call_later(pause_s, self._enqueue_alone, batch, batch.batch_id)

    def _enqueue_alone(self, batch: Batch, batch_id: int) -> None:
        if not self._is_due(batch, batch_id):
            return
        if self._alone is None:
            self._alone = self._start(True)
        if not self._alone.send_many(batch):
            self._loop.call_later(0.05, self._enqueue_alone, batch, batch_id)
        elif batch.sends_pending == 0:
            self._settle(batch)

    def _handles(self) -> list[Producer]:
        return [handle for handle in (self._producer, self._alone) if handle is not None]

    def _recover(self) -> None:
        """After a fatal error of either handle: take everything back, and send it again in order through new ones.

        Non-obvious: a new handle is made only when the old one owes no report. `purge` gives each send one; the batches
        are then sent again by number, and so in the order of their offsets.
        """
        if not self._recovering:
            self._recovering = True
            self.was_fatal += 1
            fatal_errors = [error for handle in self._handles() if (error := handle.fatal_error())]
            code, text = fatal_errors[0] if fatal_errors else (ErrorCode.FATAL, "unknown")
            self._log.error(
                "kafka producer is recreated after a fatal error", extra={"error": error_name(code), "reason": text}
            )
            for handle in self._handles():
                handle.purge()
                # The reports of what is purged wake `_serve`; this serves the case that nothing was queued.
                self._loop.call_soon(self._serve, handle)
        elif self._renewal is None and not any(handle.queue_length for handle in self._handles()):
            # A cluster that refuses each new handle, as for want of a right, must not be asked without a pause.
            pause_s = delay_s(self._renewals - 1, self._random) if self._renewals else 0.0
            self._renewals += 1
            self._renewal = self._loop.call_later(pause_s, self._renew)

    def _renew(self) -> None:
        """Nothing is pending any more: every send was acknowledged, or waits, or has failed."""
        self._renewal = None
        self._own_before += self._producer.own_delivered
        self._own_sent = 0
        for handle in self._handles():
            self._loop.remove_reader(handle.main_fd)
            destroy_aside(handle)
        self._producer, self._alone = self._start(False), None
        self._recovering = False
        # All go together again, and a good record may be refused for another's sake.
        self._alone_tried.clear()
        self._queue = deque(self._open[batch_id] for batch_id in sorted(self._open))
        for batch in self._queue:
            for refusal in refusals(batch):
                rearm(batch, refusal.send_index)
        self._send_queued()

    def close(self) -> list[Producer]:
        """Stop serving; gives the handles, which the caller destroys on a helper thread."""
        self._closed = True
        if self._renewal is not None:
            self._renewal.cancel()
        for handle in self._handles():
            self._loop.remove_reader(handle.main_fd)
        return self._handles()


def _clear(descriptor: int) -> None:
    """Read an eventfd, so that it wakes the loop again."""
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        pass  # another call has read it already
