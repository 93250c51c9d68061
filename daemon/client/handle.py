"""One confluent-kafka producer a process. Bytes in; delivery reports out, to the callable that was given with each.

Who serves the reports: whoever sends serves them every `SERVE_EVERY` events, and a thread does when nobody sends. For
each report confluent-kafka takes the interpreter's lock and gives it back, so that a thread which serves beside one
that computes waits 5 ms (sys.getswitchinterval) for each of them: 200 reports a second. Hence two rules: the thread
keeps away while senders serve, and a sender waits for a thread that is serving.

After a fork librdkafka's threads are in the parent only, and what a child gave it would lie there for ever, without an
error. So a child forgets the producer that it inherited, and its first event makes a new one.
"""

import ctypes
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

from ingestd.client.delivery import DeliveryFailed, Origin, ProducerClosed, PublishError, QueueFull
from ingestd.logs import Sparing

Header = tuple[str, bytes | str]  # a text only where it has no zero byte, at which librdkafka's copy would end
Headers = list[Header]
Record = tuple[bytes, str | None, Headers]  # value, key, headers
OnDelivery = Callable[[KafkaError | None, Message], None]

# A poll costs 0.3 µs when nothing is there; 64 events pass in less than a millisecond.
SERVE_EVERY: Final = 64
# How long a report may wait for the thread: first, and up to this while Kafka does not answer.
TICK_S, TICK_S_MAX = 0.001, 0.02
# An idle producer still has log lines, errors and tokens to serve.
IDLE_TICK_S: Final = 1.0
# A sender's courtesy to a thread that serves. Bounded, as a callback of the user's may wait for that very sender.
COURTESY_S: Final = 0.005
FULL_TICK_S: Final = 0.02
FLUSH_TICK_S: Final = 0.1
WARN_INTERVAL_S: Final = 10.0

_handles: "weakref.WeakSet[Handle]" = weakref.WeakSet()


def _forget_all() -> None:
    for handle in list(_handles):
        handle.forget()


os.register_at_fork(after_in_child=_forget_all)


class Handle:
    """Owns the confluent-kafka producer, and the thread that serves its delivery reports.

    All methods may be called from any thread.
    """

    def __init__(self, options: Mapping[str, object], topic: str, queue_timeout_s: float, log: logging.Logger) -> None:
        self.topic = topic
        self.queue_timeout_s = queue_timeout_s
        self._options = dict(options)
        self._log = log
        self._sparing = Sparing(log, WARN_INTERVAL_S, time.monotonic)
        self._closed = False
        self._reset()
        self._open()
        _handles.add(self)

    def _reset(self) -> None:
        """Everything that a child must not share with its parent."""
        self.origin = Origin(self.topic, self._say_failure)
        self._kafka: KafkaProducer | None = None
        self._produce: Callable[..., None] = self._produce_first
        self._opening = threading.Lock()
        self._serving = False
        self._serve_lock = threading.Lock()
        self._flushing: set[int] = set()
        self._inside: set[int] = set()  # threads in a poll or flush: their callbacks must not begin another
        self._served_count = 0
        self._sent_count = 0
        self._failed_count = 0
        self._asleep = False
        self._wake = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def _open(self) -> None:
        with self._opening:
            if self._closed:
                raise ProducerClosed("the producer is closed")
            if self._kafka is None:
                try:
                    kafka = KafkaProducer(self._options, logger=self._log)
                except KafkaException as error:
                    raise ValueError(f"librdkafka refuses an option: {error.args[0].str()}") from error
                self._kafka = kafka
                self._thread = threading.Thread(target=self._run, args=(kafka,), name="ingestd-delivery", daemon=True)
                self._thread.start()
                self._produce = kafka.produce

    def forget(self) -> None:
        """Runs on: the child of a fork, before anything else of it."""
        self.origin.inherited = True
        if self._kafka is not None:
            # Never to be freed: rd_kafka_destroy waits for threads that only the parent has.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._kafka))
        self._reset()

    # Sending

    def send(self, value: bytes, key: str | None, headers: Headers, on_delivery: OnDelivery) -> None:
        """Give one record to librdkafka, which copies it. Blocks up to `queue_timeout_s` while the queue is full.

        Raises QueueFull, ProducerClosed, or DeliveryFailed when librdkafka refuses it.
        """
        if self._serving:
            self._let_serve()
        try:
            self._produce(self.topic, value, key, -1, on_delivery, None, 0, headers)
        except BufferError:
            self._send_when_there_is_room((value, key, headers), on_delivery)
        except KafkaException as error:
            self._refused(error)
        self._count_sent()

    def try_send(self, value: bytes, key: str | None, headers: Headers, on_delivery: OnDelivery) -> bool:
        """As `send`, but False at once when the queue is full."""
        try:
            self._produce(self.topic, value, key, -1, on_delivery, None, 0, headers)
        except BufferError:
            self._sent_count += 1
            self.serve()
            return False
        except KafkaException as error:
            self._refused(error)
        self._count_sent()
        return True

    def send_all(self, records: Iterable[Record], on_delivery: OnDelivery) -> tuple[int, PublishError | None]:
        """As `send` for each. How many were sent, and the error that kept the rest back."""
        topic, produce, sent_count = self.topic, self._produce, 0
        for value, key, headers in records:
            try:
                produce(topic, value, key, -1, on_delivery, None, 0, headers)
            except (BufferError, KafkaException, PublishError):
                try:
                    self.send(value, key, headers, on_delivery)
                except PublishError as error:
                    return sent_count, error
            sent_count += 1
            if not sent_count % SERVE_EVERY:
                self.serve()
                # It may have been given up, or closed by another thread.
                produce = self._produce
        if self._asleep:
            self._rouse()
        return sent_count, None

    def _count_sent(self) -> None:
        # Threads may overwrite each other's count: it only says when to serve.
        self._sent_count = sent_count = self._sent_count + 1
        if self._asleep:
            self._rouse()
        if not sent_count % SERVE_EVERY:
            self.serve()

    def _produce_first(self, *arguments: Any) -> None:
        """Stands for librdkafka's `produce` in a child until its first event."""
        self._open()
        self._produce(*arguments)

    def _produce_closed(self, *arguments: Any) -> NoReturn:
        raise ProducerClosed("the producer is closed")

    def _send_when_there_is_room(self, record: Record, on_delivery: OnDelivery) -> None:
        deadline_s = time.monotonic() + self.queue_timeout_s
        value, key, headers = record
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise QueueFull(self.full_text())
            self.serve(min(left_s, FULL_TICK_S))
            try:
                return self._produce(self.topic, value, key, -1, on_delivery, None, 0, headers)
            except BufferError:
                continue
            except KafkaException as error:
                self._refused(error)

    def full_text(self) -> str:
        """What QueueFull says."""
        return (
            f"the queue was full for {self.queue_timeout_s:g} s: {self.waiting_count()} events wait for "
            f"{self._options['bootstrap.servers']}; the event was not sent"
        )

    def _refused(self, failure: KafkaException) -> NoReturn:
        error: KafkaError = failure.args[0]
        if self._kafka is not None and error.code() == KafkaError._FATAL:
            self._renew(self._kafka)
        refused = DeliveryFailed(f"librdkafka refused the event: {error.str()}", error.code(), error.name())
        raise refused from failure

    def _say_failure(self, failure: PublishError) -> None:
        """So that a program which looks at no future has a line all the same."""
        self._failed_count += 1
        name = failure.name if isinstance(failure, DeliveryFailed) else type(failure).__name__
        self._sparing.say(logging.WARNING, "an event was not delivered", name, error=str(failure), topic=self.topic)

    def say(self, level: int, message: str, **fields: object) -> None:
        """A line of the log, the same one once in WARN_INTERVAL_S."""
        self._sparing.say(level, message, **fields)

    # Serving delivery reports

    def serve(self, timeout_s: float = 0.0) -> None:
        """Serve what reports are there, or come within the time; nothing when another thread is at it."""
        kafka = self._kafka
        if kafka is None or threading.get_ident() in self._inside or not self._serve_lock.acquire(timeout=timeout_s):
            return
        try:
            self._served_count += 1
            self._enter(kafka, kafka.poll, timeout_s)
        finally:
            self._serve_lock.release()

    def _enter(self, kafka: KafkaProducer, call: Callable[[float], int], timeout_s: float) -> int:
        """A poll or a flush. confluent-kafka dies of one inside a callback of another in the same thread."""
        ident = threading.get_ident()
        self._inside.add(ident)
        try:
            return call(timeout_s)
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            self._log.error("librdkafka gave up a producer", extra={"error": str(error)})
            if error.fatal() or error.code() == KafkaError._FATAL:
                self._renew(kafka)
            return 1
        finally:
            self._inside.discard(ident)

    def _renew(self, kafka: KafkaProducer) -> None:
        """After a fatal error the events of `kafka` fail, its own thread reports that, and a new one takes the next."""
        with self._opening:
            if self._kafka is not kafka or self._closed:
                return
            self._kafka = None
            self._produce = self._produce_first
        kafka.purge(blocking=False)
        self._wake.release()

    def _let_serve(self) -> None:
        if threading.get_ident() not in self._inside and self._serve_lock.acquire(timeout=COURTESY_S):
            self._serve_lock.release()

    def _rouse(self) -> None:
        self._asleep = False
        self._wake.release()

    def _run(self, kafka: KafkaProducer) -> None:
        """Runs on: the delivery thread of `kafka`, until that is closed or given up and owes no report."""
        tick_s, seen_count = TICK_S, 0
        while self._kafka is kafka or self._enter(kafka, kafka.flush, FLUSH_TICK_S):
            if len(kafka):
                if self._wake.acquire(timeout=tick_s):
                    tick_s = TICK_S
            else:
                # First the sign, then the look: who sends in between sees the sign.
                self._asleep = True
                if not len(kafka) and self._kafka is kafka:
                    self._wake.acquire(timeout=IDLE_TICK_S)
                self._asleep = False
                tick_s = TICK_S
            if (self._served_count != seen_count or self._flushing) and self._kafka is kafka:
                seen_count = self._served_count
                continue
            tick_s = TICK_S if self._serve_aside(kafka) else min(2 * tick_s, TICK_S_MAX)
            seen_count = self._served_count

    def _serve_aside(self, kafka: KafkaProducer) -> int:
        """Serve once, with the sign for senders to wait meanwhile."""
        with self._serve_lock:
            self._serving = True
            try:
                return self._enter(kafka, kafka.poll, 0)
            finally:
                self._serving = False

    # Ending

    def waiting_count(self) -> int:
        """Events that have no delivery report yet. Notices of librdkafka that wait to be served are counted too."""
        kafka = self._kafka
        return 0 if kafka is None else len(kafka)

    def flush(self, timeout_s: float) -> int:
        """Send what lingers, and wait for all reports. How many events still wait when the time is over."""
        kafka, deadline_s = self._kafka, time.monotonic() + timeout_s
        if kafka is None:
            return 0
        if threading.get_ident() in self._inside:
            raise RuntimeError("a callback of a delivery can't wait for deliveries")
        while True:
            left_s = deadline_s - time.monotonic()
            # To the delivery thread a flush looks like a sender that serves.
            self._flushing.add(threading.get_ident())
            try:
                waiting_count = self._enter(kafka, kafka.flush, max(0.0, min(left_s, FLUSH_TICK_S)))
            finally:
                self._flushing.discard(threading.get_ident())
            if not waiting_count or left_s <= 0:
                return waiting_count

    def close(self, timeout_s: float) -> int:
        """Flush, then give up what still waits: its futures fail. Returns how many were given up.

        Does nothing the second time.
        """
        with self._opening:
            already, self._closed = self._closed, True
            kafka = self._kafka
            self._produce = self._produce_closed
        if already or kafka is None:
            return 0
        given_up_count = 0
        if self.flush(timeout_s):
            failed_before = self._failed_count
            kafka.purge()
            while self._enter(kafka, kafka.flush, FLUSH_TICK_S):
                pass
            given_up_count = self._failed_count - failed_before
        self._kafka = None
        self._wake.release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        return given_up_count
