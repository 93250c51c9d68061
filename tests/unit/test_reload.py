"""Reloading the config: what is taken over, what is refused, and that a reload has an end in any case."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from ingestd.config.schema import Config
from ingestd.errors import ConfigError, Problem
from ingestd.reload import Reloaded, Reloader
from tests.support.runtime import runtime_for_tests


class World:
    """A reloader; `running` is the config in force, `announced` what systemd heard."""

    def __init__(self, read: Callable[[], Config] | None) -> None:
        self.running = Config()
        self.announced: list[str] = []
        runtime = runtime_for_tests(logging.getLogger("test.reload"))
        self.counters = runtime.counters
        self.reloader = Reloader(
            read=read,
            in_force=lambda: self.running,
            take_over=self.take_over,
            announced=self.announce,
            runtime=runtime,
        )

    def take_over(self, config: Config) -> None:
        self.running = config

    @asynccontextmanager
    async def announce(self) -> AsyncIterator[None]:
        self.announced.append("reloading")
        try:
            yield
        finally:
            self.announced.append("ready")

    def results(self) -> list[tuple[tuple[str, ...], int]]:
        return self.counters.samples("ingestd_reloads_total")


def changed(section: str, **values: object) -> Config:
    config = Config()
    return msgspec.structs.replace(config, **{section: msgspec.structs.replace(getattr(config, section), **values)})


def reload(read: Callable[[], Config] | None) -> tuple[World, Reloaded]:
    async def work() -> tuple[World, Reloaded]:
        world = World(read)
        return world, await world.reloader.reload()

    return asyncio.run(work())


def test_what_needs_no_restart_is_taken_over() -> None:
    world, result = reload(lambda: changed("storage", logs_ttl_s=77))
    assert result == Reloaded(live=("storage.logs_ttl_s",)) and world.running.storage.logs_ttl_s == 77
    assert world.results() == [(("ok",), 1)] and world.announced == ["reloading", "ready"]


def test_what_needs_a_restart_is_named_and_stays_as_it_was() -> None:
    world, result = reload(lambda: changed("kafka", group_id="another"))
    assert result == Reloaded(restart=("kafka.group_id",)) and world.running == Config()
    assert world.results() == [(("partly",), 1)]


def test_a_file_with_problems_changes_nothing() -> None:
    problem = Problem("redis.url", "names no server")

    def read() -> Config:
        raise ConfigError([problem])

    world, result = reload(read)
    assert result == Reloaded(problems=(problem,)) and world.running == Config()
    assert world.results() == [(("refused",), 1)] and world.announced == ["reloading", "ready"]


def test_a_daemon_without_a_config_file_says_so() -> None:
    world, result = reload(None)
    assert [str(each) for each in result.problems] == ["(file): this daemon was started without a config file"]
    assert world.results() == [(("refused",), 1)]


@pytest.mark.parametrize("error", [ValueError("nobody thought of it"), RecursionError(), MemoryError()])
def test_an_error_that_nobody_expected_refuses_the_file_and_logs_its_stack(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Config:
        raise error

    world, result = reload(read)
    (problem,) = result.problems
    assert type(error).__name__ in problem.what and world.running == Config()
    assert world.results() == [(("refused",), 1)]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
