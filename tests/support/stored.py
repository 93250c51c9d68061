"""Events in Redis as the daemon puts them there. Payloads in; the fast path's own bytes to a server, checked."""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ingestd._fastpath import Batch, IndexCache, ReplyReader, RouteTable, process_batch
from tests.support import fastpath

NOW_S = 1_800_000_000
BATCH_EVENTS = 2000


class Loader:
    """One connection to a unix socket, one index cache, as one daemon has them."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self._table: RouteTable = fastpath.table(**settings)
        self._cache = IndexCache(4096)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._replies = ReplyReader()
        self._offset = 0

    def store(self, events: Iterable[Any]) -> None:
        """Events as dicts, bytes, or records of `fastpath.record`; done when every reply was good."""
        waiting: list[Any] = []
        for event in events:
            self._offset += 1
            waiting.append(event if isinstance(event, tuple) else fastpath.record(event, offset=self._offset))
            if len(waiting) == BATCH_EVENTS:
                self._send(waiting)
                waiting = []
        if waiting:
            self._send(waiting)

    def _send(self, records: list[Any]) -> None:
        batch = Batch(len(records))
        batch.load(records, fastpath.CORRELATION_HEADERS)
        process_batch(batch, self._table, self._cache, NOW_S)
        assert not batch.fault_counts(), batch.fault_counts()
        self._replies.reset()
        self._socket.sendall(batch.resp())
        while self._replies.reply_count < batch.reply_count:
            self._replies.feed(self._socket.recv(1 << 20))
        assert self._replies.errors == []
        batch.release()

    def close(self) -> None:
        self._socket.close()
