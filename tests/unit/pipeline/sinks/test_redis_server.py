"""Where Redis is and who asks it. In: a config. Out: an endpoint, facts, or the error at the first refusal."""

import asyncio
from pathlib import Path

import pytest
import redis

from ingestd.config.schema import RedisConfig, SentinelConfig
from ingestd.pipeline.sinks.redis_server import Endpoint, credentials, find_endpoint, read_facts


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("redis://h", Endpoint("h", 6379, None, 0, None), "h:6379"),
        ("redis://10.0.0.1:7000/3", Endpoint("10.0.0.1", 7000, None, 3, None), "10.0.0.1:7000"),
        ("unix:///run/redis.sock?db=2", Endpoint("localhost", 6379, "/run/redis.sock", 2, None), "/run/redis.sock"),
    ],
)
def test_the_url_says_where_and_which_database(url: str, expected: Endpoint, shown: str) -> None:
    found = asyncio.run(find_endpoint(RedisConfig(url=url)))
    assert found == expected and str(found) == shown


def test_tls_is_for_rediss_alone() -> None:
    assert asyncio.run(find_endpoint(RedisConfig(url="rediss://h"))).tls is not None


def test_a_changed_password_is_used_at_the_next_connect(tmp_path: Path) -> None:
    file = tmp_path / "password"
    config = RedisConfig(username="me", password_file=str(file))
    for password in ("first", "second"):
        file.write_text(password + "\n")
        assert credentials(config) == ("me", password)


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
