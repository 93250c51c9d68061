"""The daemon: builds its components, wires them, takes signals, reloads, and ends everything in order."""

import asyncio
import faulthandler
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from . import __version__
from ._fastpath import Batch, IndexCache
from ._librdkafka import Consumer, KafkaNotice, Producer
from .config import checks, kafka_consumers, kafka_producers
from .config.schema import Config
from .diagnostics import BooksFile, log_state
from .errors import ConfigError, KafkaFailure
from .observers import control_socket, status
from .observers.components import Components
from .observers.health import HealthReporter
from .observers.health_reports import HealthReports
from .observers.http_server import HttpServer
from .observers.prometheus import Exposition
from .observers.record_times import RecordTimeReader, RecordTimes
from .observers.sd_notify import Notifier
from .observers.stalled_threads import Threads
from .observers.status import Overview, run_queue_ns
from .observers.systemd_service import SystemdService
from .observers.taps import Taps
from .pipeline import allocator
from .pipeline.cluster_queries import NETWORK_TIMEOUT_MS
from .pipeline.engine import SAMPLE_INTERVAL_S, Engine
from .pipeline.handles import DESTROY_TIMEOUT_S, destroy_all
from .pipeline.ledger import Ledger
from .pipeline.route_table import RouteTables
from .pipeline.settings import correlation_headers, fault_texts, limits_of, make_converter
from .pipeline.sinks.kafka import KafkaSink
from .pipeline.sinks.redis import RedisSink
from .pipeline.source import Source
from .reload import Reloader
from .telemetry.happenings import CLIENT_ERROR, SHUT_OUT
from .telemetry.loop_phases import Phases
from .telemetry.metrics import Books, Counters
from .telemetry.runtime import Runtime, make_runtime

# After the drain: leaving the group. Every step of a stop has its own bound, so that it always ends.
LEAVE_TIMEOUT_S = 5.0


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
        self.log = log
        self.host = socket.gethostname()
        self.instance = os.environ.get("INSTANCE", "")
        self.client_id = config.kafka.client_id or "-".join(filter(None, ("ingestd", self.host, self.instance)))
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self.open_servers()
        self.runtime = new_runtime(log)
        self.build_pipeline(self.runtime)
        self.build_observers(self.runtime)
        self.books_file = BooksFile(books_file, self.components)
        self.reloader = Reloader(
            read=reread,
            in_force=lambda: self.config,
            take_over=self.take_over,
            announced=self.systemd.reloading,
            runtime=self.runtime,
        )

    def open_servers(self) -> None:
        """First of all: a port in use is a ConfigError, and nothing that would have to be torn down is there yet."""
        listen, path = self.config.http.listen, self.config.control.socket_path()
        self.http = HttpServer(listen, "http.listen", self.log) if listen else None
        # No time-out: a tap goes on until its reader has seen enough.
        self.control = HttpServer(path, "control.socket", self.log, answer_timeout_s=None) if path else None

    def build_pipeline(self, runtime: Runtime) -> None:
        """What a batch passes through, in its order. Everything is made once; a reload swaps parts of it."""
        config = self.config
        self.ledger, self.books = Ledger(), Books()
        self.taps = Taps(self.on_taps, runtime.now_s)
        self.tables = RouteTables(config, self.taps)
        cache = IndexCache()
        self.consumer = Consumer(
            kafka_consumers.daemon_consumer_options(config, self.client_id),
            correlation_headers=correlation_headers(config),
            index_only=config.kafka.index_only_topics,
        )
        self.source = Source(
            consumer=self.consumer,
            topics=config.input_topics(),
            never_inputs=checks.never_inputs(config),
            auto_offset_reset=config.kafka.auto_offset_reset,
            drain_timeout_s=config.pipeline.drain_timeout_ms / 1000,
            ledger=self.ledger,
            books=self.books,
            on_notice=self.on_source_notice,
            runtime=runtime,
        )
        self.engine = Engine(
            limits=limits_of(config),
            table=self.tables.build(),
            cache=cache,
            ledger=self.ledger,
            books=self.books,
            convert=make_converter(config),
            runtime=runtime,
        )
        self.kafka = KafkaSink(
            make_producer=self.make_producer,
            on_done=self.engine.kafka_done,
            on_notice=self.on_notice,
            runtime=runtime,
        )
        self.redis = RedisSink(
            config=config.redis,
            client_name=self.client_id,
            cache=cache,
            on_done=self.engine.redis_done,
            runtime=runtime,
        )
        self.engine.connect(source=self.source, kafka=self.kafka, redis=self.redis)
        self.source.connect(
            pump=self.engine.pump, hold=self.engine.hold, resume=self.engine.resume, drained=self.engine.drained
        )

    def build_observers(self, runtime: Runtime) -> None:
        """What looks at the pipeline and answers for it: health events, systemd, HTTP."""
        config = self.config
        self.components = Components(
            source=self.source,
            kafka=self.kafka,
            redis=self.redis,
            engine=self.engine,
            ledger=self.ledger,
            books=self.books,
            counters=runtime.counters,
        )
        self.times = RecordTimes(RecordTimeReader(config.kafka, f"{self.client_id}-record-times"), runtime.now_s)
        self.health_reports = HealthReports(
            config=config,
            reporter=self.make_reporter(),
            components=self.components,
            consumer=self.consumer,
            times=self.times,
            log=self.log,
        )
        self.systemd = SystemdService(
            notifier=Notifier(),
            threads=Threads(),
            components=self.components,
            health_reports=self.health_reports,
            log=self.log,
        )
        self.overview = Overview(
            components=self.components,
            lag=self.health_reports.lag,
            health=self.health_reports.statuses,
            is_stopping=self.stopping.is_set,
            identity={"host": self.host, "instance": self.instance, "group": config.kafka.group_id},
        )

    def on_taps(self) -> None:
        """A tap was opened or closed."""
        self.engine.swap_table(self.tables.build())
        self.engine.on_processed = self.show_to_taps if len(self.taps) else None

    def show_to_taps(self, batch: Batch) -> None:
        self.taps.look(batch, self.source.topic, self.tables.topics.names)

    def make_reporter(self) -> HealthReporter:
        service = self.config.observability.event_streaming.service_name
        return HealthReporter(self.config.health, service, self.host, self.instance, __version__)

    def make_producer(self, alone: bool) -> Producer:
        options = kafka_producers.daemon_single_record_options if alone else kafka_producers.daemon_producer_options
        return Producer(
            options(self.config, self.client_id),
            self.tables.topics.names,
            fault_texts(),
            self.host,
            self.config.kafka.timestamp == "source",
        )

    def on_notice(self, notice: KafkaNotice) -> None:
        """librdkafka's own log and error events."""
        if notice.kind == "error":
            self.runtime.happenings.note(CLIENT_ERROR, "kafka", notice.name, reason=notice.text)
        elif notice.level <= 4:
            self.runtime.limited_log.say(
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
            self.runtime.happenings.note(SHUT_OUT, "kafka", notice.name, error=notice.name, reason=notice.text)
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

        A ConfigError: with what the cluster has now, this config may not run. systemd leaves that to people.
        """
        error = context.get("exception")
        self.failure = self.failure or error or RuntimeError(str(context.get("message")))
        if isinstance(error, ConfigError):
            problems = [str(each) for each in error.problems]
            self.log.error("the daemon cannot run with this config", extra={"problems": problems})
        else:
            self.log.error(
                "an unexpected error stops the daemon", extra={"context": str(context.get("message"))}, exc_info=error
            )
        self.stopping.set()

    def on_hangup(self) -> None:
        task = asyncio.create_task(self.reloader.reload())
        self.tasks.append(task)  # else it may be collected before it ends
        task.add_done_callback(self.tasks.remove)
        task.add_done_callback(self.watch_task)

    def take_over(self, config: Config) -> None:
        """Swap everything that stands between two batches. Called on the loop, so no batch is in the middle of it."""
        added = self.tables.swap(config)
        if added:
            self.kafka.add_topics(added)
        self.config = config
        self.engine.swap(limits_of(config), self.tables.build())
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
        self.loop.add_signal_handler(signal.SIGUSR1, log_state, self.components, self.log)
        self.tasks = [
            asyncio.create_task(work)
            for work in (self.redis.run(), self.health_reports.run(), self.books_file.run(), self.keep_sampling())
        ]
        serving = asyncio.create_task(self.systemd.run())  # to the very end: a stop is watched too
        for task in (*self.tasks, serving):
            task.add_done_callback(self.watch_task)
        answers = status.routes(self.overview, Exposition(self.runtime.counters, self.overview.figures))
        if self.http is not None:
            await self.http.start(answers)
        if self.control is not None:
            await self.control.start([*answers, *control_socket.routes(self.reloader.reload, self.taps)])
        self.source.start()
        self.systemd.ready()
        self.log.info(
            "started",
            extra={"version": __version__, "group": self.config.kafka.group_id, "topics": self.config.input_topics()},
        )
        await self.stopping.wait()
        code = await self.stop()
        serving.cancel()
        self.books_file.write()
        if isinstance(self.failure, ConfigError):
            raise self.failure
        return code

    def watch_task(self, task: asyncio.Task) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.on_failure(self.loop, {"message": "a task failed", "exception": error})

    async def stop(self) -> int:
        """Each step with a bound: take nothing more; drain; store; leave the group, which drains again what the first
        drain had no time for; close Redis and the servers; end the tasks; release every batch; destroy the handles.

        Gives 0 when all of it went well, else 1, and a line says what did not.
        """
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
            # Non-obvious: tasks end before handles do, as a call on a destroyed one would crash the process.
            task.cancel()
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

    async def keep_sampling(self) -> None:
        while True:
            self.engine.sample()
            await asyncio.sleep(SAMPLE_INTERVAL_S)


def new_runtime(log: logging.Logger) -> Runtime:
    """With the loop's clock and the clocks of this process."""
    return make_runtime(
        counters=Counters(Phases(time.monotonic_ns, time.thread_time_ns, run_queue_ns)),
        log=log,
        now_s=asyncio.get_running_loop().time,
        wall_s=time.time,
        random=random.Random(),
    )


def serve(
    config: Config,
    log: logging.Logger,
    books_file: Path | None = None,
    reread: Callable[[], Config] | None = None,
) -> int:
    """Run the daemon until a signal stops it; gives the exit code."""
    allocator.keep_freed_memory()
    faulthandler.enable(2)  # a crash, and the watchdog's SIGABRT, leave the stacks of all threads in the log

    async def main() -> int:
        return await App(config, log, books_file, reread).run()

    return uvloop.run(main())
