"""What a running daemon writes about itself: stacks and state to the log (SIGUSR1), and the books to a file."""

import asyncio
import json
import logging
import sys
import threading
import traceback
from pathlib import Path

from .observers.components import Components

BOOKS_INTERVAL_S = 1.0


def log_state(components: Components, log: logging.Logger) -> None:
    """Runs on: the loop. Every thread's stack, the tasks and the ledger, to see what it does just now."""
    for name, stack in stacks().items():
        log.warning("stack", extra={"thread_name": name, "stack": stack})
    tasks = sorted(getattr(task.get_coro(), "__qualname__", "unknown") for task in asyncio.all_tasks())
    log.warning(
        "state",
        extra={
            "ledger": components.ledger.describe(),
            "books": components.books.as_dict(),
            "held_back_by": components.engine.held_back_by(),
            "tasks": tasks,
        },
    )


def stacks() -> dict[str, list[str]]:
    """By thread name, of those that run Python: FILE:LINE FUNCTION, the innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(ident, str(ident)): [
            f"{row.filename}:{row.lineno} {row.name}" for row in traceback.extract_stack(frame)
        ]
        for ident, frame in sys._current_frames().items()
    }


class BooksFile:
    """Runs on: the loop. The books as one JSON line; without a path nothing is written."""

    def __init__(self, path: Path | None, components: Components) -> None:
        self._path = path
        self._components = components

    def write(self) -> None:
        """Replaced at once, so that a reader never sees half."""
        if self._path is None:
            return
        components = self._components
        state = {
            "books": components.books.as_dict(),
            "balanced": components.books.balances(),
            "counters": components.counters.as_dict(),
            "held_bytes": components.engine.held_bytes,
            "open_batches": components.engine.open_batches,
            "joined": components.source.joined,
            "redis": components.redis.connected,
            "own_health_events": components.kafka.own_acknowledged,
        }
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(state) + "\n", encoding="utf-8")
        beside.replace(self._path)

    async def run(self) -> None:
        while self._path is not None:
            self.write()
            await asyncio.sleep(BOOKS_INTERVAL_S)
