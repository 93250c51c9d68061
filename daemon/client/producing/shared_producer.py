"""The librdkafka producer of one Producer, shared by all threads, and the thread that serves its delivery reports.

Non-obvious: the delivery thread reports all that has come under one hold of the interpreter's lock. One that takes it
for each report waits 5 ms for each beside a thread that computes (sys.getswitchinterval): 200 a second, and the queue
runs full. What librdkafka frees with the reports is freed without the lock.

Non-obvious: room in a full queue is made by the delivery thread alone, and a flush waits for it. librdkafka does not
poll by itself where reports are events. So a callback of a delivery can neither flush, nor close, nor wait for room.

Non-obvious: the child of a fork abandons the producer that it inherited. librdkafka's threads are in the parent only:
what a child gave it would lie there for ever without an error, and `rd_kafka_destroy` would wait for those threads. The
child's first event makes a new one.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, Protocol

from ..._librdkafka import ErrorCode, EventBatch, KafkaNotice, RecordWriter, Sender, error_name, error_text
from ...errors import KafkaFailure
from ...rate_limited_log import RateLimitedLog
from ..events import Event
from .delivery import BatchFailed, BatchReports, DeliveryFailed, Origin, ProducerClosed, PublishError, QueueFull

Record = tuple[RecordWriter, Event, bool]  # who writes it, a checked event, whether its trace is sampled
RefreshToken = Callable[[str], tuple[Any, ...]]


class Owner(Protocol):
    """Gets the reports of its records. Runs on: the delivery thread."""

    def delivered(self, partition: int, offset: int, count: int) -> None:
        """`count` records of this owner are in the partition; `offset` is the last one's."""

    def failed(self, code: int, value: bytes) -> None:
        """One record was not delivered. code: librdkafka's."""


# Plain numbers: these are compared for each event.
QUEUE_FULL: Final = ErrorCode.QUEUE_FULL.value
DESTROYED: Final = ErrorCode.DESTROY.value  # another thread has given this producer up meanwhile
# How long the thread waits for reports before it looks whether it is to end; it is woken for that.
SERVE_MS: Final = 1000
# A wake-up for room may be missed by a sender that is just about to wait.
FULL_TICK_S: Final = 0.02
# A flush that waits longer could not be interrupted by Ctrl-C.
FLUSH_TICK_S: Final = 0.1
WARN_INTERVAL_S: Final = 10.0
# syslog's levels, as librdkafka has them, to logging's.
LOG_LEVELS: Final = (50, 50, 50, 40, 30, 20, 20, 10)

_open_producers: "weakref.WeakSet[SharedProducer]" = weakref.WeakSet()


def _forget_all() -> None:
    for producer in list(_open_producers):
        producer.forget()


os.register_at_fork(after_in_child=_forget_all)


class SharedProducer:
    """Owns the librdkafka producer, and the thread that serves its delivery reports.

    refresh_token: see Sender.

    Runs on: any thread, but where a method says otherwise.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        topic: str,
        queue_timeout_s: float,
        log: logging.Logger,
        refresh_token: RefreshToken | None = None,
    ) -> None:
        self.topic = topic
        self.queue_timeout_s = queue_timeout_s
        self._options = dict(options)
        self._refresh_token = refresh_token
        self._log = log
        self._limited_log = RateLimitedLog(log, WARN_INTERVAL_S, time.monotonic)
        self._closed = False
        self._reset()
        self._open()
        _open_producers.add(self)

    def _reset(self) -> None:
        """Everything that a child must not share with its parent."""
        self.origin = Origin(self.topic, self._say_failure)
        self._sender: Sender | None = None
        self._send: Callable[..., int] = self._send_first
        # Guards changes of `_sender`, `_send` and `_closed`: one sender is made, and none after `close`. Taken by the
        # thread that publishes first or after a renewal, by the delivery thread that renews, and by who closes.
        self._opening = threading.Lock()
        # Non-obvious: nothing may run on a sender while it is destroyed. This lock is held by flush, purge and destroy,
        # so by threads that flush or close and by delivery threads. What is sent to a retired one gets _DESTROY and
        # goes to the next. It retires only when no report is owed, in one step: a thread that had it in hand may come
        # in late, and would never hear of its event.
        self._using = threading.Lock()
        # Guards `_wanting_room`. Waited on by threads that publish into a full queue, notified by the delivery thread.
        self._room = threading.Condition()
        self._wanting_room = 0
        self._thread: threading.Thread | None = None
        self._serving: set[int] = set()  # ids of delivery threads: their callbacks can't wait for themselves
        self._failed_count = 0

    def _open(self) -> Sender:
        with self._opening:
            if self._closed:
                raise ProducerClosed("the producer is closed")
            if self._sender is None:
                try:
                    sender = Sender(self._options, self.topic, self._refresh_token)
                except KafkaFailure as error:
                    raise ValueError(f"librdkafka refuses an option: {error}") from error
                self._thread = threading.Thread(target=self._run, args=(sender,), name="ingestd-delivery", daemon=True)
                self._sender, self._send = sender, sender.send
                self._thread.start()
            return self._sender

    def forget(self) -> None:
        """Runs on: the child of a fork, before anything else of it."""
        self.origin.inherited = True
        if self._sender is not None:
            self._sender.abandon()
        self._reset()

    # Sending

    def send(self, record: Record, owner: Owner) -> None:
        """Give one record to librdkafka, which copies it. Blocks up to `queue_timeout_s` while the queue is full.

        Raises InvalidEvent, QueueFull, ProducerClosed, or DeliveryFailed when librdkafka refuses it.
        """
        code = self._send(*record, owner)
        if code:
            for _ in self._steps_after(code, record, owner):
                self.wait_for_room()

    def try_send(self, record: Record, owner: Owner) -> bool:
        """As `send`, but False at once when the queue is full."""
        code = self._send(*record, owner)
        if code == QUEUE_FULL:
            return False
        if code:
            raise self.refusal(code)
        return True

    def send_steps(self, record: Record, owner: Owner) -> Iterator[None]:
        """As `send`, but gives control back while the queue is full, for the caller to wait in his way."""
        code = self._send(*record, owner)
        if code:
            yield from self._steps_after(code, record, owner)

    def batch_steps(
        self, batch: EventBatch, turn_events: int, on_done: Callable[[int, BatchFailed | None], object]
    ) -> Iterator[bool]:
        """Send a batch. Gives control back with True where the queue is full, for the caller to wait in his way, and
        with False after each `turn_events`. on_done: see BatchReports.

        Raises PublishError when nothing was sent; else that is the error of the events that were not.
        """
        reports = BatchReports(self.origin, batch, on_done)
        sent_count, deadline_s = 0, time.monotonic() + self.queue_timeout_s
        refused: PublishError | None = None
        try:
            while sent_count < len(batch):
                turn_end = min(len(batch), sent_count + turn_events)
                count, code = self._send_events(batch, sent_count, turn_end, reports)
                sent_count += count
                if count:
                    deadline_s = time.monotonic() + self.queue_timeout_s
                if code == QUEUE_FULL:
                    self._refuse_to_wait(deadline_s)
                elif code:
                    raise self.refusal(code)
                yield code == QUEUE_FULL
        except PublishError as error:
            if not sent_count:
                raise
            refused = error
        reports.seal(sent_count, refused)

    def _send_events(self, batch: EventBatch, begin: int, end: int, owner: Owner) -> tuple[int, int]:
        """How many of the events from `begin` up to `end` were sent, and the code that kept back the next, or 0."""
        if self._closed:
            self._send_closed()
        count, code = (self._sender or self._open()).send_events(batch, begin, end, owner)
        return count, 0 if code == DESTROYED else code  # the next one takes the rest

    def _send_first(self, *record: Any) -> int:
        """Stands for the sender's `send` in a child until its first event, and after a fatal error."""
        return self._open().send(*record)

    def _send_closed(self, *record: Any) -> NoReturn:
        raise ProducerClosed("the producer is closed")

    def _steps_after(self, code: int, record: Record, owner: Owner) -> Iterator[None]:
        """Send what was refused with this code: when there is room, by the next sender, or not at all."""
        deadline_s = time.monotonic() + self.queue_timeout_s
        while code in (QUEUE_FULL, DESTROYED):
            if code == QUEUE_FULL:
                self._refuse_to_wait(deadline_s)
                yield
            code = self._send(*record, owner)
        if code:
            raise self.refusal(code)

    def _refuse_to_wait(self, deadline_s: float) -> None:
        """Raises QueueFull where the time to wait for room is over, or may not begin."""
        if time.monotonic() >= deadline_s:
            raise QueueFull(
                f"the queue was full for {self.queue_timeout_s:g} s: {self.waiting_count()} events wait for "
                f"{self._options['bootstrap.servers']}; the event was not sent"
            )
        if threading.get_ident() in self._serving:
            raise QueueFull(
                "the queue is full, and a callback of a delivery can't wait for room; the event was not sent"
            )

    def wait_for_room(self) -> None:
        """Until the delivery thread has made room, or FULL_TICK_S. Runs on: any thread but the delivery thread."""
        with self._room:
            self._wanting_room += 1
            self._room.wait(FULL_TICK_S)
            self._wanting_room -= 1

    def refusal(self, code: int) -> DeliveryFailed:
        """The error of an event that librdkafka did not take."""
        if code == ErrorCode.FATAL and self._sender is not None:
            self._renew(self._sender)
        return DeliveryFailed(f"librdkafka refused the event: {error_text(code)}", code, error_name(code))

    def _say_failure(self, failure: PublishError) -> None:
        """So that a program which looks at no future has a line all the same."""
        self._failed_count += 1
        name = failure.name if isinstance(failure, DeliveryFailed) else type(failure).__name__
        self._limited_log.say(logging.WARNING, "an event was not delivered", name, error=str(failure), topic=self.topic)

    def say(self, level: int, message: str, **fields: object) -> None:
        """A line of the log, the same one once in WARN_INTERVAL_S."""
        self._limited_log.say(level, message, **fields)

    # Serving delivery reports

    def _run(self, sender: Sender) -> None:
        """Runs on: the delivery thread of `sender`, until that is closed or given up and owes no report."""
        ident = threading.get_ident()
        self._serving.add(ident)
        while self._sender is sender or not sender.retire():
            notices, errors = sender.serve(SERVE_MS)
            for notice in notices:
                self._on_notice(sender, notice)
            for error in errors:  # of a program's own callback: all other reports were given
                self._log.error("a delivery callback raised an exception", exc_info=error)
            if self._wanting_room:
                with self._room:
                    self._room.notify_all()
        with self._using:
            sender.destroy()
        self._serving.discard(ident)

    def _on_notice(self, sender: Sender, notice: KafkaNotice) -> None:
        """Runs on: the delivery thread. Of an error that matters librdkafka writes a line too."""
        if notice.fatal:
            self._log.error("fatal error of librdkafka, the producer is replaced", extra={"error": notice.text})
            self._renew(sender)
        elif notice.kind == "log":
            self._log.log(LOG_LEVELS[notice.level & 7], "%s: %s", notice.name, notice.text)

    def _renew(self, sender: Sender) -> None:
        """After a fatal error: the events of `sender` fail, as its own thread reports, and a new one takes the next."""
        with self._opening:
            if self._sender is not sender or self._closed:
                return
            self._sender, self._send = None, self._send_first
        with self._using:
            sender.purge()
        sender.wake()

    # Ending

    def waiting_count(self) -> int:
        """Events that have no delivery report yet."""
        sender = self._sender
        return 0 if sender is None else sender.waiting_count

    def flush(self, timeout_s: float) -> int:
        """Send what lingers, and wait for all reports. How many events still wait when the time is over."""
        sender, deadline_s = self._sender, time.monotonic() + timeout_s
        if sender is None:
            return 0
        self._refuse_in_callback()
        while True:
            left_s = deadline_s - time.monotonic()
            with self._using:
                if self._sender is not sender:
                    return 0  # closed or given up by another thread: its futures say what became of them
                if sender.flush(round(1000 * max(0.0, min(left_s, FLUSH_TICK_S)))):
                    return 0
                if left_s <= 0:
                    return sender.waiting_count

    def _refuse_in_callback(self) -> None:
        if threading.get_ident() in self._serving:
            raise RuntimeError("a callback of a delivery can't wait for deliveries")

    def close(self, timeout_s: float) -> int:
        """Flush, then give up what still waits: its futures fail. Returns how many were given up.

        Does nothing the second time.
        """
        self._refuse_in_callback()
        with self._opening:
            already, self._closed = self._closed, True
            sender, thread = self._sender, self._thread
            self._send = self._send_closed
        if already or sender is None or thread is None:
            return 0
        failed_before = self._failed_count
        if gave_up := self.flush(timeout_s) > 0:
            failed_before = self._failed_count
            with self._using:
                sender.purge()
        self._sender = None
        sender.wake()
        thread.join()
        return self._failed_count - failed_before if gave_up else 0
