"""Writes the Redis index: one pipelined write a batch, with replies matched by count.

The next batch is written before the replies of the last are in. Whatever breaks a connection, every batch that has not
finished is written again, whole, on the next one: SET, ZADD and EXPIRE give the same result twice.

A connection is given up when it ends, when a reply fits no command, when none came for redis.reply_timeout_ms, when too
few replicas have a batch (redis.wait_replicas), and at an error that may pass (TRANSIENT_ERRORS). Dialling goes on for
ever with back-off; the endpoint, the password and the server's role are asked for each time. Any other error reply is
about one command: the record that it came from becomes a dead letter when the batch closes. redis.on_unavailable and
redis.on_full can be `skip`: then the index is left out, and that is counted.

Non-obvious: replies are matched by count, so half a command or one reply too many shifts all that follow. The end of a
batch's bytes moves only behind whole commands, and a reply that fits none ends the connection.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable

import redis.exceptions

from ..._fastpath import Batch, IndexCache, ReplyReader, rebuild_index
from ...backoff import delay_s
from ...config.redis_options import DIAL_TIMEOUT_S, Endpoint, tls_context
from ...config.schema import RedisConfig
from ...errors import RedisProtocolError, RedisUnavailable
from ...telemetry.happenings import DROPPED, RECONNECTED, REDIS_AWAY, REDIS_ERROR
from ...telemetry.loop_phases import REDIS
from ...telemetry.runtime import Runtime
from .redis_server import ServerFacts, command, find_endpoint, login, read_facts

# First words of errors after which the same bytes may succeed later. NOAUTH and NOPERM wait for the operator, and so do
# ASK and MOVED, which say that this is a node of a Cluster: no event is bad for that.
TRANSIENT_ERRORS = frozenset(
    (
        "ASK",
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNKILLABLE",
        "WRONGPASS",
    )
)
UNKNOWN_COMMAND = "ERR unknown command"  # renamed or switched off in redis.conf: for the operator, too
WATCH_INTERVAL_S = 0.25


class _Sent:
    """A batch that was written: replies `start` up to `end` of the connection are its own."""

    __slots__ = ("batch", "end", "start")

    def __init__(self, batch: Batch, start: int, end: int) -> None:
        self.batch, self.start, self.end = batch, start, end


class _Link(asyncio.BufferedProtocol):
    """One connection. Received bytes go straight into the reader's buffer."""

    def __init__(self, sink: "RedisSink") -> None:
        self.sink = sink
        self.reader = ReplyReader()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.reader.free_space()

    def buffer_updated(self, nbytes: int) -> None:
        phase_before = self.sink.phases.enter(REDIS)
        try:
            self.reader.received(nbytes)
        except RedisProtocolError as error:
            self.sink.fail(self, str(error))
        else:
            self.sink.on_replies(self)
        self.sink.phases.enter(phase_before)

    def connection_lost(self, error: Exception | None) -> None:
        self.sink.fail(self, str(error or "Redis closed the connection"))


class RedisSink:
    """Runs on: the loop. `on_done(batch)` is called when a batch owes Redis nothing any more; the records that Redis
    refused for good are then in `batch.refused_records` (None or a list of record indexes)."""

    def __init__(
        self,
        *,
        config: RedisConfig,
        client_name: str,
        cache: IndexCache,
        on_done: Callable[[Batch], None],
        runtime: Runtime,
    ) -> None:
        self._config = config
        # Redis refuses a name with spaces or beyond ASCII, and with it the connection.
        self._client_name = re.sub(r"[^!-~]", "-", client_name)
        self._cache = cache
        self._on_done = on_done
        self._counters = runtime.counters
        self.phases = runtime.counters.phases
        self._seconds = runtime.counters.histogram("ingestd_sink_seconds", "redis")
        self._happenings = runtime.happenings
        self._wall_s = runtime.wall_s
        self._log = runtime.log
        self._random = runtime.random
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[Batch] = deque()
        self._sent: deque[_Sent] = deque()
        self._link: _Link | None = None  # the connection that takes batches
        self._written_replies = 0  # replies that it will have given when all is answered
        self._handed_bytes = 0  # to the transport
        self._progress_s = 0.0
        self._lost = asyncio.Event()
        self._lost_reason = ""
        self._closing = False
        self._attempt = 0
        self._is_full = False  # redis.on_full waits for memory, also where on_unavailable does not wait for Redis
        self.facts: ServerFacts | None = None
        self.identity_changes = 0  # how often another server, or an emptied one, was found

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def waiting_count(self) -> int:
        """Batches that owe replies."""
        return len(self._unsent) + len(self._sent)

    def swap(self, config: RedisConfig) -> None:
        """Other limits and policies from now on; another user or password from the next connect on."""
        self._config = config

    def submit(self, batch: Batch) -> None:
        """Take a batch. Called once a batch, and again after `rebuild_index`."""
        batch.refused_records = None
        if batch.reply_count == 0:
            self._on_done(batch)
        elif self._link is not None:
            phase_before = self.phases.enter(REDIS)
            self._write(batch)
            self.phases.enter(phase_before)
        elif self._config.on_unavailable == "skip" and not self._is_full:
            self._skip(batch)
        else:
            self._unsent.append(batch)

    def _write(self, batch: Batch) -> None:
        link = self._link
        assert link is not None and link.transport is not None
        if not self._sent:
            self._progress_s = self._loop.time()
        start = self._written_replies
        for reply_index in batch.trim_replies():
            link.reader.want(start + reply_index)
        # Non-obvious: the bytes that the transport has are the batch's own, and are not copied.
        # The view stays good: a batch is released only after all its replies, which come after its bytes went out.
        view = batch.resp_view()
        link.transport.write(view)
        self._handed_bytes += len(view)
        self._written_replies = start + batch.reply_count
        if self._config.wait_replicas:
            link.reader.want(self._written_replies)
            link.transport.write(command("WAIT", self._config.wait_replicas, self._config.reply_timeout_ms // 2))
            self._written_replies += 1
        self._sent.append(_Sent(batch, start, self._written_replies))

    def _skip(self, batch: Batch) -> None:
        self._happenings.note(DROPPED, "redis_unavailable", "true", count=batch.record_count)
        self._on_done(batch)

    def on_replies(self, link: _Link) -> None:
        """Bytes came in: errors first, then the batches that are complete.

        Non-obvious: errors in a read are dealt with before batches are called done, as both may be in the same bytes.
        """
        if link is not self._link:
            return  # the handshake looks at its reader itself
        self._progress_s = self._loop.time()
        reader = link.reader
        if reader.errors and not self._deal_with_errors(link, reader.take_errors()):
            return
        if reader.integers and not self._read_integers(link, reader.take_integers()):
            return
        while self._sent and self._sent[0].end <= reader.reply_count:
            sent = self._sent.popleft()
            self._attempt = 0
            self._is_full = False
            self._seconds.observe(self._loop.time() - sent.batch.taken_at_s)
            self._counters.add("ingestd_events_sent_total", "redis", "command", count=sent.batch.reply_count)
            self._on_done(sent.batch)

    def _deal_with_errors(self, link: _Link, errors: list[tuple[int, str]]) -> bool:
        """False: the connection was given up, and everything unfinished is written again later."""
        for reply_index, text in errors:
            word = text.split(" ", 1)[0]
            sent = next((sent for sent in self._sent if sent.start <= reply_index < sent.end), None)
            self._happenings.note(REDIS_ERROR, "index", word, reason=text)
            if sent is None:
                self.fail(link, f"an error reply to no command that was sent: {text}")
                return False
            if word == "OOM" and self._config.on_full == "skip":
                self._happenings.note(DROPPED, "redis_full", "true")
                # Its index may not exist, and then its EXPIRE did nothing.
                self._cache.clear()
                continue
            self._is_full = word == "OOM"
            # Behind the batch's own replies is that to WAIT: an UNBLOCKED at a fail-over says nothing of an event.
            is_for_wait = reply_index - sent.start == sent.batch.reply_count
            if word in TRANSIENT_ERRORS or text.startswith(UNKNOWN_COMMAND) or is_for_wait:
                self.fail(link, text)
                return False
            record_index = sent.batch.record_of_reply(reply_index - sent.start)
            sent.batch.refused_records = [*(sent.batch.refused_records or ()), record_index]
        return True

    def _read_integers(self, link: _Link, integers: list[tuple[int, int]]) -> bool:
        """Answers to trims and to WAIT. False: too few replicas have the batch, so it is written again."""
        ends = {sent.end - 1 for sent in self._sent} if self._config.wait_replicas else ()
        for reply_index, value in integers:
            if reply_index in ends:
                if value < self._config.wait_replicas:
                    self.fail(link, f"{value} replicas have the batch, redis.wait_replicas wants more")
                    return False
            elif value:
                self._happenings.note(DROPPED, "index_trimmed", "true", count=value)
        return True

    def fail(self, link: _Link, reason: str) -> None:
        """Give a connection up. Idempotent; the keeper dials again."""
        if link.transport is not None:
            link.transport.abort()
        if link is not self._link:
            return
        self._link = None
        self._lost_reason = reason
        self._unsent.extendleft(sent.batch for sent in reversed(self._sent))
        self._sent.clear()
        self._lost.set()

    async def run(self) -> None:
        """Keeps a connection, for ever: a sink that is down is waited for, as Kafka holds the data."""
        watcher = asyncio.create_task(self._watch())
        try:
            while not self._closing:
                self._lost.clear()
                try:
                    await self._connect()
                    await self._lost.wait()
                    reason = self._lost_reason
                except (OSError, TimeoutError, RedisUnavailable, redis.exceptions.RedisError) as error:
                    reason = str(error) or type(error).__name__
                    self._is_full = False
                if self._closing:
                    break
                pause_s = delay_s(self._attempt, self._random)
                self._happenings.note(REDIS_AWAY, "index", "connection", reason=reason, next_try_s=round(pause_s, 2))
                self._attempt += 1
                if self._config.on_unavailable == "skip" and not self._is_full:
                    while self._unsent:
                        self._skip(self._unsent.popleft())
                await asyncio.sleep(pause_s)
        finally:
            watcher.cancel()

    async def _connect(self) -> None:
        endpoint = await find_endpoint(self._config)
        facts = await read_facts(self._config, endpoint)
        if facts.role != "master":
            raise RedisUnavailable(f"{endpoint} is a {facts.role}, not a master")
        link = await self._dial(endpoint)
        try:
            await self._shake_hands(link, endpoint)
            assert link.transport is not None
            if link.transport.is_closing():
                # `fail` was called when this was not the link in use yet. Writing to it raises.
                raise RedisUnavailable(f"{endpoint} closed the connection after the handshake")
        except BaseException:
            self.fail(link, "the handshake failed")
            raise
        self._note_identity(facts, endpoint)
        # Non-obvious: a batch that is written again is built again, with an empty cache of TTLs.
        # Its bytes rest on what the cache knew, and Redis may have lost those TTLs: the index would never get one.
        self._cache.clear()
        self._cache.compares_ttls = int(facts.version.split(".")[0]) >= 7
        link.reader.reset()
        self._written_replies = 0
        self._link = link
        waiting, self._unsent = self._unsent, deque()
        now_s = int(self._wall_s())
        for batch in waiting:
            rebuild_index(batch, batch.table, self._cache, now_s)
            self.submit(batch)

    async def _dial(self, endpoint: Endpoint) -> _Link:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            if endpoint.path:
                _, link = await self._loop.create_unix_connection(lambda: _Link(self), endpoint.path)
            else:
                _, link = await self._loop.create_connection(
                    lambda: _Link(self), endpoint.host, endpoint.port, ssl=tls_context(self._config)
                )
        return link

    async def _shake_hands(self, link: _Link, endpoint: Endpoint) -> None:
        """AUTH, SELECT and a name. Each is answered with one line, as everything that follows."""
        commands = [*login(self._config, endpoint), command("CLIENT", "SETNAME", self._client_name)]
        assert link.transport is not None
        link.transport.write(b"".join(commands))
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            while link.reader.reply_count < len(commands):
                if link.transport.is_closing():
                    raise RedisUnavailable(f"{endpoint} closed the connection during the handshake")
                await asyncio.sleep(0.002)
        if link.reader.errors:
            raise RedisUnavailable(link.reader.errors[0][1])

    def _note_identity(self, facts: ServerFacts, endpoint: Endpoint) -> None:
        before, self.facts = self.facts, facts
        if before is None:
            self._log.info("redis connected", extra={"address": str(endpoint), "version": facts.version})
        elif (before.run_id, before.replication_id) != (facts.run_id, facts.replication_id):
            self.identity_changes += 1
            self._log.warning(
                "redis is another server, or was restarted: it may have lost acknowledged writes",
                extra={"address": str(endpoint), "run_id": facts.run_id},
            )
        else:
            self._happenings.note(RECONNECTED, "redis", address=str(endpoint))

    async def _watch(self) -> None:
        """Replies that stop coming are a connection that is lost. While bytes go out it is not: a large event takes its
        time, and would come to its reply on no connection."""
        written_bytes = 0
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            limit_s = self._config.reply_timeout_ms / 1000
            link = self._link
            if link is None or link.transport is None or not self._sent:
                continue
            before_bytes, written_bytes = written_bytes, self._handed_bytes - link.transport.get_write_buffer_size()
            if written_bytes != before_bytes:
                self._progress_s = self._loop.time()
            elif self._loop.time() - self._progress_s > limit_s:
                self.fail(link, f"no reply for redis.reply_timeout_ms ({self._config.reply_timeout_ms})")

    def close(self) -> None:
        """End the connection. What is unfinished stays so: its offsets are not stored."""
        self._closing = True
        if self._link is not None and self._link.transport is not None:
            # What was not written yet is dropped: its memory is the batches', which go next.
            self._link.transport.abort()
        self._lost.set()
