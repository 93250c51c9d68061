"""Reloads the config of a running daemon: reads the file again and takes over what needs no restart."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from .config import changes, checks
from .config.schema import Config
from .errors import ConfigError, Problem
from .telemetry.happenings import RELOAD_REFUSED, RELOADED, RELOADED_PARTLY
from .telemetry.runtime import Runtime


class Reloaded(NamedTuple):
    """What a reload came to. With problems nothing was changed."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class Reloader:
    """Runs on: the loop. One reload at a time.

    read: gives the config as its file has it now, or raises ConfigError; None: there is no file. in_force: the config
    that runs. take_over: swaps it, or raises ConfigError with nothing changed. announced: systemd hears that a reload
    is under way.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Config] | None,
        in_force: Callable[[], Config],
        take_over: Callable[[Config], None],
        announced: Callable[[], AbstractAsyncContextManager[None]],
        runtime: Runtime,
    ) -> None:
        self._read = read
        self._in_force = in_force
        self._take_over = take_over
        self._announced = announced
        self._happenings = runtime.happenings
        self._log = runtime.log
        self._loop = asyncio.get_running_loop()
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Read the config's file again and take over, between two batches, what needs no restart.

        A file with a problem changes nothing. What needs a restart is named, and stays as it was.
        """
        async with self._one_at_a_time, self._announced():
            try:
                new, live = await self._read_again()
                changed, restart = changes.changes(self._in_force(), new)
                if changed:
                    self._take_over(live)
            except ConfigError as error:
                problems = [str(problem) for problem in error.problems]
                self._happenings.note(RELOAD_REFUSED, "refused", source=error.source, problems=problems)
                return Reloaded(problems=tuple(error.problems))
            what = (RELOADED_PARTLY, "partly") if restart else (RELOADED, "ok")
            self._happenings.note(*what, changed=changed, need_a_restart=restart)
            return Reloaded(changed, restart)

    async def _read_again(self) -> tuple[Config, Config]:
        """The config of the file, and what of it would run. Raises ConfigError and nothing else."""
        # On a helper thread: a large file would keep the loop from its batches.
        reading = self._loop.run_in_executor(None, self._read_and_check)
        await asyncio.wait([reading])
        error = reading.exception()
        if error is None or isinstance(error, ConfigError):
            return reading.result()
        # Non-obvious: nothing that a file holds may end a daemon that runs well.
        # Nothing has been changed yet, so an error that nobody expected refuses the file, and its stack is logged.
        self._log.error("reading the config failed in a way that nobody expected", exc_info=error)
        what = f"can't be read: {type(error).__name__}: {error}"
        raise ConfigError([Problem("(file)", what, "the daemon's log has the stack; please report it")])

    def _read_and_check(self) -> tuple[Config, Config]:
        if self._read is None:
            raise ConfigError([Problem("(file)", "this daemon was started without a config file")])
        new = self._read()
        live = changes.live_part(self._in_force(), new)
        # Each file may be sound and what runs of both not: an output that is still an input, for instance.
        checks.ensure(live, "the new config, without what needs a restart")
        return new, live
