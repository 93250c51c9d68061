"""Where Redis is and who asks it. In: a config. Out: an endpoint, facts, or the error at the first refusal."""

import asyncio

import pytest
import redis

from ingestd.config.schema import RedisConfig, SentinelConfig
from ingestd.pipeline.sinks.redis_server import find_endpoint, read_facts


@pytest.mark.parametrize("sentinel", [False, True])
def test_a_server_that_hangs_up_is_dialled_once_and_the_caller_is_told_at_once(sentinel: bool) -> None:
    """The sink has a back-off of its own; redis-py's would hold every try of it up for seconds."""

    async def work() -> int:
        dialled = 0

        def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dialled
            dialled += 1
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = RedisConfig(url=f"redis://127.0.0.1:{port}")
        if sentinel:
            config = RedisConfig(sentinel=SentinelConfig("main", (f"127.0.0.1:{port}",)))
        with pytest.raises(redis.RedisError):
            await read_facts(config, await find_endpoint(config))
        server.close()
        return dialled

    assert asyncio.run(asyncio.wait_for(work(), 30)) == 1
