"""The daemon: builds its components, wires them, takes signals, reloads, and ends everything in order."""

import asyncio
import faulthandler
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from . import __version__
from ._fastpath import Batch, IndexCache, RouteTable
from ._librdkafka import Consumer, Handle, KafkaNotice, Producer
from .config import changes as reload
from .config import checks, kafka_consumers, kafka_producers
from .config.schema import Config
from .errors import ConfigError, KafkaFailure, Problem
from .events import rules
from .events.old_topics import Converter
from .events.vocabulary import FAULT_MESSAGES, FAULT_STAGES, Fault
from .observers import control_socket, status
from .observers.health import HealthReporter
from .observers.health_reports import HealthReports
from .observers.http_server import HttpServer
from .observers.prometheus import Exposition
from .observers.record_times import RecordTimeReader, RecordTimes
from .observers.sd_notify import Notifier
from .observers.stalled_threads import Threads
from .observers.status import Components, Overview, run_queue_ns
from .observers.systemd_service import SystemdService
from .observers.taps import Taps
from .pipeline import allocator
from .pipeline.engine import SAMPLE_INTERVAL_S, Engine, Limits
from .pipeline.ledger import Ledger
from .pipeline.route_table import table_arguments
from .pipeline.sinks.kafka import KafkaSink, destroy_aside
from .pipeline.sinks.redis import RedisSink
from .pipeline.source import NETWORK_TIMEOUT_MS, Source
from .rate_limited_log import RateLimitedLog
from .telemetry.happenings import (
    CLIENT_ERROR,
    RELOAD_REFUSED,
    RELOADED,
    RELOADED_PARTLY,
    SHUT_OUT,
    Happenings,
)
from .telemetry.loop_phases import Phases
from .telemetry.metrics import Books, Counters

# After the drain: leaving the group, then librdkafka's threads. Each has its own bound, so that a stop always ends.
LEAVE_TIMEOUT_S = 5.0
DESTROY_TIMEOUT_S = 8.0
BOOKS_INTERVAL_S = 1.0


def fault_texts() -> list[tuple[str, str, str]]:
    """(class, stage, message) by Fault, for the headers of dead letters."""
    return [(fault.name.lower(), FAULT_STAGES.get(fault, ""), FAULT_MESSAGES.get(fault, "")) for fault in Fault]


class Reloaded(NamedTuple):
    """What a reload came to. With problems nothing was changed."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class App:
    """One daemon. Runs on: the loop. `reread` gives the config as its file has it now, or raises ConfigError."""

    def __init__(
        self,
        config: Config,
        log: logging.Logger,
        books_file: Path | None,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self.config = config
        self.reread = reread
        self.reloading = asyncio.Lock()
        self.log = log
        self.books_file = books_file
        self.host = socket.gethostname()
        self.instance = os.environ.get("INSTANCE", "")
        self.client_id = config.kafka.client_id or "-".join(filter(None, ("ingestd", self.host, self.instance)))
        self.loop = asyncio.get_running_loop()
        self.limited_log = RateLimitedLog(log, 10.0, self.loop.time)
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        # First of all: a port in use is a ConfigError, and nothing that would have to be torn down is there yet.
        self.http = HttpServer(config.http.listen, "http.listen", log) if config.http.listen else None
        path = config.control.socket_path()
        # A tap goes on until who looks on has seen enough.
        self.control = HttpServer(path, "control.socket", log, answer_timeout_s=None) if path else None
        self.build()

    def build(self) -> None:
        config, random_source = self.config, random.Random()
        self.ledger, self.books = Ledger(), Books()
        self.counters = Counters(Phases(time.monotonic_ns, time.thread_time_ns, run_queue_ns))
        self.happenings = Happenings(self.counters, self.log, self.loop.time)
        cache = IndexCache()
        self.taps = Taps(self.on_taps, self.loop.time)
        compiled, self.topics = rules.compile_rules(config.rules, config.kafka.topics.outputs())
        self.engine = Engine(
            limits_of(config),
            self.make_table(config, compiled),
            cache,
            self.ledger,
            self.books,
            self.counters,
            time.time,
            self.log,
            make_converter(config),
        )
        self.consumer = Consumer(
            kafka_consumers.daemon_consumer_options(config, self.client_id),
            correlation_headers(config),
            config.kafka.index_only_topics,
        )
        self.source = Source(
            self.consumer,
            config.input_topics(),
            checks.never_inputs(config),
            config.kafka.auto_offset_reset,
            config.pipeline.drain_timeout_ms / 1000,
            self.ledger,
            self.books,
            self.counters,
            self.on_source_notice,
            self.log,
            random_source,
        )
        self.kafka = KafkaSink(
            self.make_producer, self.engine.kafka_done, self.counters, self.on_notice, self.log, random_source
        )
        self.redis = RedisSink(
            config.redis,
            self.client_id,
            cache,
            self.engine.redis_done,
            self.counters,
            time.time,
            self.log,
            random_source,
        )
        self.engine.connect(self.source, self.kafka, self.redis)
        self.source.connect(self.engine.pump, self.engine.hold, self.engine.resume, self.engine.drained)
        self.build_observers()

    def build_observers(self) -> None:
        """Who looks at the components and tells others: health events, systemd, HTTP."""
        self.times = RecordTimes(RecordTimeReader(self.config.kafka, f"{self.client_id}-record-times"), self.loop.time)
        self.health_reports = HealthReports(
            self.config,
            self.make_reporter(),
            self.source,
            self.consumer,
            self.kafka,
            self.redis,
            self.engine,
            self.ledger,
            self.books,
            self.counters,
            self.times,
            self.log,
        )
        self.systemd = SystemdService(
            Notifier(), Threads(), self.source, self.redis, self.ledger, self.books, self.health_reports, self.log
        )
        components = Components(
            self.source, self.kafka, self.redis, self.engine, self.ledger, self.books, self.counters
        )
        identity = {"host": self.host, "instance": self.instance, "group": self.config.kafka.group_id}
        self.overview = Overview(
            components, self.health_reports.lag, self.health_reports.statuses, self.stopping.is_set, identity
        )

    def make_table(self, config: Config, compiled: tuple[rules.CompiledRule, ...]) -> RouteTable:
        return RouteTable(compiled, taps=self.taps.rules, dead_taps=self.taps.dead_taps, **table_arguments(config))

    def on_taps(self) -> None:
        """Somebody begins or ends to look on."""
        compiled, _ = rules.compile_rules(self.config.rules, self.config.kafka.topics.outputs(), self.topics)
        self.engine.swap_table(self.make_table(self.config, compiled))
        self.engine.look = self.look if len(self.taps) else None

    def look(self, batch: Batch) -> None:
        self.taps.look(batch, self.source.topic, self.topics.names)

    def make_reporter(self) -> HealthReporter:
        service = self.config.observability.event_streaming.service_name
        return HealthReporter(self.config.health, service, self.host, self.instance, __version__)

    def make_producer(self, alone: bool) -> Producer:
        options = kafka_producers.daemon_single_record_options if alone else kafka_producers.daemon_producer_options
        return Producer(
            options(self.config, self.client_id),
            self.topics.names,
            fault_texts(),
            self.host,
            self.config.kafka.timestamp == "source",
        )

    def on_notice(self, notice: KafkaNotice) -> None:
        """librdkafka's own log and error events."""
        if notice.kind == "error":
            self.happenings.note(CLIENT_ERROR, "kafka", notice.name, reason=notice.text)
        elif notice.level <= 4:
            self.limited_log.say(
                logging.WARNING,
                "kafka client",
                (notice.name, notice.text[:40]),
                facility=notice.name,
                reason=notice.text,
            )
        else:
            self.log.debug("kafka client", extra={"facility": notice.name, "reason": notice.text})

    def on_source_notice(self, notice: KafkaNotice) -> None:
        """A fatal error ends the consumer for good, such as another instance with the same group_instance_id."""
        if not notice.fatal:
            self.on_notice(notice)
        elif self.failure is None:
            self.failure = KafkaFailure(notice.code, notice.name, notice.text)
            self.happenings.note(SHUT_OUT, "kafka", notice.name, error=notice.name, reason=notice.text)
            self.stopping.set()

    def on_signal(self, number: int) -> None:
        if self.stopping.is_set():
            # The operator does not want to wait: what is unfinished comes again from Kafka.
            self.log.warning(
                "stopped at once by a second signal", extra={"unfinished_events": self.ledger.unfinished()}
            )
            os._exit(1)
        self.log.info("stopping", extra={"signal": signal.Signals(number).name})
        self.stopping.set()

    def on_failure(self, loop: asyncio.AbstractEventLoop, context: dict) -> None:
        """An error that nobody expected stops the daemon: systemd starts it again, and nothing was stored wrongly.

        A ConfigError: what the cluster has now makes the config one that may not run. systemd leaves that to people.
        """
        error = context.get("exception")
        self.failure = self.failure or error or RuntimeError(str(context.get("message")))
        if isinstance(error, ConfigError):
            self.log.error("the config may not run", extra={"problems": [str(each) for each in error.problems]})
        else:
            self.log.error(
                "an unexpected error stops the daemon", extra={"context": str(context.get("message"))}, exc_info=error
            )
        self.stopping.set()

    def on_hangup(self) -> None:
        task = asyncio.create_task(self.reload())
        self.tasks.append(task)  # else it may be collected before it ends
        task.add_done_callback(self.tasks.remove)
        task.add_done_callback(self.watch_task)

    def describe(self) -> None:
        """SIGUSR1: every thread's stack, the tasks and the ledger, for who wants to know what it does just now."""
        for name, stack in stacks().items():
            self.log.warning("stack", extra={"thread_name": name, "stack": stack})
        tasks = sorted(getattr(task.get_coro(), "__qualname__", "unknown") for task in asyncio.all_tasks(self.loop))
        state = {"books": self.books.as_dict(), "held_back_by": self.engine.held_back_by(), "tasks": tasks}
        self.log.warning("state", extra={"ledger": self.ledger.describe(), **state})

    async def reload(self) -> Reloaded:
        """Read the config's file again and take over, between two batches, what needs no restart.

        A file with a problem changes nothing. What needs a restart is named, and stays as it was.
        """
        async with self.reloading, self.systemd.reloading():
            try:
                if self.reread is None:
                    raise ConfigError([Problem("(file)", "this daemon was not started from a file")])
                # On a helper thread: a large file would keep the loop from its batches.
                new = await self.loop.run_in_executor(None, self.reread)
                live = reload.live_part(self.config, new)
                # Each file may be sound and what runs of both not: an output that is still an input, for instance.
                checks.ensure(live, "the new config, without what needs a restart")
            except ConfigError as error:
                problems = [str(problem) for problem in error.problems]
                self.happenings.note(RELOAD_REFUSED, "refused", source=error.source, problems=problems)
                return Reloaded(problems=tuple(error.problems))
            changed, restart = reload.changes(self.config, new)
            if changed:
                self.take_over(live)
            what = (RELOADED_PARTLY, "partly") if restart else (RELOADED, "ok")
            self.happenings.note(*what, changed=changed, need_a_restart=restart)
            return Reloaded(changed, restart)

    def take_over(self, config: Config) -> None:
        """Swap everything that stands between two batches. Called on the loop, so no batch is in the middle of it."""
        compiled, topics = rules.compile_rules(config.rules, config.kafka.topics.outputs(), self.topics)
        table = self.make_table(config, compiled)
        added = topics.names[len(self.topics.names) :]
        if added:
            self.kafka.add_topics(list(added))
        self.config, self.topics = config, topics
        self.engine.swap(limits_of(config), table)
        self.consumer.set_correlation_headers(correlation_headers(config))
        self.source.drain_timeout_s = config.pipeline.drain_timeout_ms / 1000
        self.redis.swap(config.redis)
        self.health_reports.swap(config, self.make_reporter())
        self.log.setLevel(config.logging.level.upper())

    async def run(self) -> int:
        """Until a signal, or an error that nobody expected. Gives the exit code; raises ConfigError for 78."""
        self.loop.set_exception_handler(self.on_failure)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.on_signal, number)
        self.loop.add_signal_handler(signal.SIGHUP, self.on_hangup)
        self.loop.add_signal_handler(signal.SIGUSR1, self.describe)
        self.tasks = [
            asyncio.create_task(work)
            for work in (self.redis.run(), self.health_reports.run(), self.keep_books_file(), self.keep_sampling())
        ]
        serving = asyncio.create_task(self.systemd.run())  # to the very end: a stop is watched too
        for task in (*self.tasks, serving):
            task.add_done_callback(self.watch_task)
        answers = status.routes(self.overview, Exposition(self.counters, self.overview.figures))
        if self.http is not None:
            await self.http.start(answers)
        if self.control is not None:
            await self.control.start([*answers, *control_socket.routes(self.reload, self.taps)])
        self.source.start()
        self.systemd.ready()
        self.log.info(
            "started",
            extra={"version": __version__, "group": self.config.kafka.group_id, "topics": self.config.input_topics()},
        )
        await self.stopping.wait()
        code = await self.stop()
        serving.cancel()
        self.write_books()
        if isinstance(self.failure, ConfigError):
            raise self.failure
        return code

    def watch_task(self, task: asyncio.Task) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.on_failure(self.loop, {"message": "a task failed", "exception": error})

    async def stop(self) -> int:
        """Drain, store, leave, tear down: in this order, each with a bound."""
        drain_timeout_s = self.config.pipeline.drain_timeout_ms / 1000
        # The drain may come twice: here, and in the revoke that leaving the group brings.
        limit_s = 2 * drain_timeout_s + LEAVE_TIMEOUT_S + NETWORK_TIMEOUT_MS / 1000 + DESTROY_TIMEOUT_S
        self.systemd.stopping(limit_s)
        self.engine.hold()
        may_drain = self.failure is None or isinstance(self.failure, ConfigError)
        drained = may_drain and await self.engine.drained(None, drain_timeout_s)
        unfinished_count = self.ledger.unfinished()
        if drained:
            self.source.store()
        left = await self.source.leave(LEAVE_TIMEOUT_S + (0 if drained else drain_timeout_s))
        self.redis.close()
        for server in (self.http, self.control):
            if server is not None:
                await server.stop()  # answers ask the handles
        for task in self.tasks:
            task.cancel()  # from here on the handles may not be asked any more
        self.source.stop()
        self.times.stop()
        torn_down = await self.tear_down()
        commit_error = self.source.commit_error  # then some events come again, though every sink has them
        done = drained and left and torn_down and not commit_error and self.failure is None
        self.log.log(
            logging.INFO if done else logging.WARNING,
            "stopped",
            extra={
                "drained": drained,
                "unfinished_events": unfinished_count,
                "left_group": left,
                "commit_error": commit_error or None,
                "torn_down": torn_down,
            },
        )
        return 0 if done else 1

    async def tear_down(self) -> bool:
        """Producers read what the batches hold, and batches hold what the consumer owns: so in this order."""
        run = self.loop.run_in_executor
        if not await run(None, destroy_all, self.kafka.close()):
            return False
        self.engine.release_all()
        await run(None, self.source.join_network)
        await run(None, self.times.join)
        return await run(None, destroy_all, [self.consumer])

    def write_books(self) -> None:
        """The books as one JSON line, replaced at once so that a reader never sees half."""
        if self.books_file is None:
            return
        state = {
            "books": self.books.as_dict(),
            "balanced": self.books.balances(),
            "counters": self.counters.as_dict(),
            "held_bytes": self.engine.held_bytes,
            "open_batches": self.engine.open_batches,
            "joined": self.source.joined,
            "redis": self.redis.connected,
            "own_health_events": self.kafka.own_acknowledged,
        }
        beside = self.books_file.with_suffix(".new")
        beside.write_text(json.dumps(state) + "\n", encoding="utf-8")
        beside.replace(self.books_file)

    async def keep_sampling(self) -> None:
        while True:
            self.engine.sample()
            await asyncio.sleep(SAMPLE_INTERVAL_S)

    async def keep_books_file(self) -> None:
        while self.books_file is not None:
            self.write_books()
            await asyncio.sleep(BOOKS_INTERVAL_S)


def stacks() -> dict[str, list[str]]:
    """By thread name, of those that run Python: FILE:LINE FUNCTION, the innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(ident, str(ident)): [
            f"{row.filename}:{row.lineno} {row.name}" for row in traceback.extract_stack(frame)
        ]
        for ident, frame in sys._current_frames().items()
    }


def limits_of(config: Config) -> Limits:
    """The engine's limits."""
    pipeline = config.pipeline
    return Limits(pipeline.batch_events_max, pipeline.in_flight_events_max, kafka_consumers.held_bytes_max(config))


def make_converter(config: Config) -> Converter | None:
    """For old topics, when some are read."""
    topics, service_name = config.old_topics(), config.observability.event_streaming.service_name
    return Converter(topics, service_name, config.pipeline.event_bytes_max) if topics else None


def correlation_headers(config: Config) -> list[str]:
    """Where a correlation id is looked for when the event itself has none (design 6.1)."""
    return [config.observability.event_streaming.correlation_id_header, "correlation_id"]


def destroy_all(handles: list[Handle]) -> bool:
    """Runs on: a helper thread. False when librdkafka did not end its threads in time."""
    threads: list[threading.Thread] = [destroy_aside(handle) for handle in handles]
    deadline_s = time.monotonic() + DESTROY_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def serve(
    config: Config,
    log: logging.Logger,
    books_file: Path | None = None,
    reread: Callable[[], Config] | None = None,
) -> int:
    """Run the daemon until it is told to stop; gives the exit code."""
    allocator.keep_freed_memory()
    faulthandler.enable(2)  # a crash, and the watchdog's SIGABRT, leave the stacks of all threads in the log

    async def main() -> int:
        return await App(config, log, books_file, reread).run()

    return uvloop.run(main())
