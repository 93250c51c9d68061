"""LogHandler: publishes the records of the standard `logging` as log events, without ever waiting for Kafka."""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..events import EventType, InvalidEvent, Level, format_timestamp
from ..log import LOGGER_NAME
from .delivery import DeliveryFailed, PublishError
from .producer import Producer
from .publishing import Made, describe_error

# What a LogRecord has of itself; everything else came by `extra=`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Their lines tell of sending: sending them would make the next ones.
_IGNORED: Final = (LOGGER_NAME, "confluent_kafka")
_DROPS_SAID_EVERY_S: Final = 1.0

_handlers: "weakref.WeakSet[LogHandler]" = weakref.WeakSet()


def _forget_all() -> None:
    for handler in list(_handlers):
        handler.forget()


os.register_at_fork(after_in_child=_forget_all)


def level_of_record(levelno: int) -> Level:
    """The level of a number of `logging`, also one between the named ones."""
    if levelno >= logging.ERROR:
        return Level.FATAL if levelno >= logging.CRITICAL else Level.ERROR
    if levelno >= logging.WARNING:
        return Level.WARNING
    return Level.INFO if levelno >= logging.INFO else Level.DEBUG


class _Reports:
    """The owner of all events of one handler. Runs on: the delivery thread."""

    def __init__(self, on_delivered: Callable[[int], None], on_failed: Callable[[int], None]) -> None:
        self._on_delivered, self._on_failed = on_delivered, on_failed

    def delivered(self, partition: int, offset: int, count: int) -> None:
        self._on_delivered(count)

    def failed(self, code: int, value: bytes) -> None:
        self._on_failed(code)


class LogHandler(logging.Handler):
    """Publishes what is logged as log events.

        logging.getLogger().addHandler(LogHandler(producer))

    component: the logger's name when None. pending_max: how many of its events may wait for Kafka. What comes when as
    many wait, or when the producer's queue is full, is dropped and counted in `dropped_count`, and a warning event
    tells the number as soon as there is room. `emit` never waits for Kafka. What this library, librdkafka and
    confluent-kafka log of themselves is ignored, and so is what is logged while a record is being published.

    The record's time, its message (or the formatter's text when one was set), and in metadata `logger`, `file`, `line`,
    `function`, `thread`, `process` and what `extra=` gave; values that JSON can't hold as their repr(). An exception
    adds data {"error_type"} and `metadata.stack_trace`. Correlation, trace and span id are those of the code that logs.
    """

    def __init__(
        self,
        producer: Producer,
        level: int | str = logging.NOTSET,
        component: str | None = None,
        pending_max: int = 10_000,
    ) -> None:
        super().__init__(level)
        if pending_max < 1:
            raise ValueError("pending_max: is below 1")
        self.producer = producer
        self.component = component
        self.pending_max = pending_max
        self.flush_timeout_s = 5.0
        self._core = producer.core
        self._ignored = (*_IGNORED, self._core.log.name)
        self._emitting = threading.local()
        # As many entries as events that wait. A deque's append and pop are atomic, and its length is the count.
        self._pending: deque[None] = deque()
        self._reports = _Reports(self._on_delivered, self._on_failed)
        # Guards `dropped_count`. Taken by threads that log, and by the delivery thread.
        self._counting = threading.Lock()
        self.dropped_count = 0
        self._said_count = 0
        self._said_s = -_DROPS_SAID_EVERY_S
        _handlers.add(self)

    def createLock(self) -> None:
        """None: everything below may run in several threads at once, and no thread waits for another's publishing."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging's own, which wants a lock from Python 3.13 on."""
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def forget(self) -> None:
        """Runs on: the child of a fork, before anything else of it. What waits is the parent's."""
        self._pending = deque()
        self._counting = threading.Lock()
        self._emitting = threading.local()

    def handles(self, name: str) -> bool:
        """Whether lines of the logger of this name are published."""
        return not any(name == ignored or name.startswith(ignored + ".") for ignored in self._ignored)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish one record, or count it. Runs on: whoever logs."""
        if getattr(self._emitting, "now", False) or not self.handles(record.name):
            return
        self._emitting.now = True
        try:
            if len(self._pending) >= self.pending_max:
                self._drop()
            else:
                self._publish(record)
        except (PublishError, InvalidEvent):
            self._drop()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # The line itself is wrong, as `log.info("%d", "x")`: said as logging's own handlers do.
            self.handleError(record)
        finally:
            self._emitting.now = False

    def _publish(self, record: logging.LogRecord) -> None:
        message = record.getMessage() if self.formatter is None else self.format(record)
        metadata, data = self._facts(record)
        timestamp = format_timestamp(round(record.created * 1e6) * 1000)
        level, component = level_of_record(record.levelno), self.component or record.name
        maker = self._core.maker
        made = maker.make(EventType.LOG, level, component, message, None, metadata, data, timestamp=timestamp)
        try:
            was_sent = self._send(made)
        except InvalidEvent:
            metadata = {
                name: value if isinstance(value, int | str) else repr(value) for name, value in metadata.items()
            }
            made = maker.make(EventType.LOG, level, component, message, None, metadata, data, timestamp=timestamp)
            was_sent = self._send(made)
        if not was_sent:
            self._drop()
        elif self.dropped_count != self._said_count:
            self._say_drops()

    def _send(self, made: Made) -> bool:
        """False when the queue is full."""
        was_sent = False
        self._pending.append(None)
        try:
            was_sent = self._core.shared.try_send((self._core.records.writer, *made), self._reports)
        finally:
            if not was_sent:
                self._pending.pop()
        return was_sent

    def _facts(self, record: logging.LogRecord) -> tuple[dict[str, Any], dict[str, str] | None]:
        metadata: dict[str, Any] = {
            "logger": record.name,
            "file": record.pathname,
            "line": record.lineno,
            "function": record.funcName,
            "thread": record.threadName,
            "process": record.process,
        }
        metadata |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.stack_info:
            metadata["stack_info"] = record.stack_info
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return metadata, None
        _, error_type, stack = describe_error(error, None)
        if stack is not None:
            metadata["stack_trace"] = stack
        return metadata, {"error_type": error_type}

    def _on_delivered(self, count: int) -> None:
        for _ in range(count):
            self._pending.pop()

    def _on_failed(self, code: int) -> None:
        self._pending.pop()
        self._core.shared.origin.on_failure(DeliveryFailed.of(code, ""))
        self._drop()

    def _drop(self) -> None:
        with self._counting:
            self.dropped_count += 1

    def _say_drops(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < _DROPS_SAID_EVERY_S:
            return
        self._said_s = now_s
        unsaid_count = self.dropped_count - self._said_count
        self._said_count += unsaid_count
        made = self._core.maker.make(
            EventType.LOG,
            Level.WARNING,
            self.component or "logging",
            f"{unsaid_count} log records were dropped",
            None,
            {"dropped": unsaid_count, "dropped_ever": self.dropped_count},
            None,
            correlation_id="",
            trace_id="",
            span_id="",
        )
        if not self._send(made):
            self._said_count -= unsaid_count

    def flush(self) -> None:
        """Wait for Kafka, at most `flush_timeout_s`. `logging.shutdown` calls it at the end of the program."""
        self._core.shared.flush(self.flush_timeout_s)
