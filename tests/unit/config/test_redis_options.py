"""How a `redis` section becomes what redis-py and the sink's own dialling take."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from ingestd.client.lookup.store import AsyncEventStore, EventStore
from ingestd.config import checks
from ingestd.config.redis_options import (
    BadUrl,
    Endpoint,
    credentials,
    place_options,
    read_url,
    redis_py_options,
    sentinel_nodes,
    tls_context,
    tls_problems,
    url_endpoint,
)
from ingestd.config.schema import RedisConfig, SentinelConfig, TlsConfig


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("redis://h", Endpoint("h", 6379, None, 0, False), "h:6379"),
        ("redis://10.0.0.1:7000/3", Endpoint("10.0.0.1", 7000, None, 3, False), "10.0.0.1:7000"),
        ("redis://h/1?db=3", Endpoint("h", 6379, None, 3, False), "h:6379"),
        ("rediss://[::1]:7000", Endpoint("::1", 7000, None, 0, True), "[::1]:7000"),
        ("redis://", Endpoint("localhost", 6379, None, 0, False), "localhost:6379"),
        ("unix:///run/a%20b.sock?db=2", Endpoint("localhost", 6379, "/run/a b.sock", 2, False), "/run/a b.sock"),
    ],
)
def test_the_url_says_where_and_which_database_as_redis_py_reads_it(url: str, expected: Endpoint, shown: str) -> None:
    found = url_endpoint(RedisConfig(url=url))
    assert found == expected and str(found) == shown
    theirs = redis.ConnectionPool.from_url(url).connection_kwargs
    ours = redis_py_options(RedisConfig(url=url), 1.0) | place_options(found)
    place = {"host": "localhost", "port": 6379, "db": 0} | theirs
    if found.path is None:
        assert {key: ours[key] for key in ("host", "port", "db")} == {key: place[key] for key in ("host", "port", "db")}
    else:
        assert (ours["unix_socket_path"], ours["db"]) == (theirs["path"], theirs["db"])


def test_a_changed_password_is_used_at_the_next_connect(tmp_path: Path) -> None:
    file = tmp_path / "password"
    config = RedisConfig(username="me", password_file=str(file))
    for password in ("first", "second"):
        file.write_text(password + "\n")
        assert credentials(config) == ("me", password)
        options = redis_py_options(config, 1.0)
        assert (options["username"], options["password"]) == ("me", password)


def test_tls_is_for_rediss_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    files = TlsConfig(ca_file="ca.pem", cert_file="cert.pem", key_file="/etc/key.pem")
    plain, secure = (
        redis_py_options(RedisConfig(url=f"{scheme}://h", tls=files), 1.0) for scheme in ("redis", "rediss")
    )
    assert not [name for name in plain if name.startswith("ssl")]
    assert secure["ssl"] is secure["ssl_check_hostname"] is True
    assert secure["ssl_ca_certs"] == str(tmp_path / "ca.pem") and secure["ssl_keyfile"] == "/etc/key.pem"
    assert tls_context(RedisConfig(url="redis://h", tls=files)) is None
    context = tls_context(RedisConfig(url="rediss://h"))
    assert context is not None and context.check_hostname


def test_sentinels_are_told_by_host_and_port_also_by_ipv6() -> None:
    nodes = ("[fd00::1]:26379", "sentinel-2:26380")
    config = RedisConfig(sentinel=SentinelConfig(master="main", nodes=nodes))
    assert sentinel_nodes(config) == [("fd00::1", 26379), ("sentinel-2", 26380)]
    assert sentinel_nodes(RedisConfig()) == []
    with EventStore(config) as store:
        found = [client.connection_pool.connection_kwargs["host"] for client in store._own[1:]]
    assert found == ["fd00::1", "sentinel-2"]


@pytest.mark.parametrize("url", ["redis://h:7/1", "rediss://h:7/1", "unix:///run/redis.sock?db=1"])
@pytest.mark.parametrize("sentinel", [None, SentinelConfig(master="main", nodes=("s:26379",))])
def test_both_stores_give_redis_py_the_same_options(url: str, sentinel: SentinelConfig | None) -> None:
    config = RedisConfig(url=url, sentinel=sentinel, username="me", reply_timeout_ms=1500)

    async def of_async() -> dict[str, Any]:
        async with AsyncEventStore(config) as store:
            return dict(store._redis.connection_pool.connection_kwargs)

    with EventStore(config) as store:
        options = store._redis.connection_pool.connection_kwargs
    theirs = asyncio.run(of_async())
    wanted = ("db", "username", "socket_timeout", "host", "port", "path", "ssl_check_hostname")
    assert {name: options.get(name) for name in wanted} == {name: theirs.get(name) for name in wanted}
    assert options["socket_timeout"] == 1.5 and options["db"] == 1 and options["username"] == "me"


@pytest.mark.parametrize("scheme", ["Rediss", "REDISS", "rediss"])
def test_the_scheme_has_tls_in_any_case_for_everyone(scheme: str) -> None:
    config = RedisConfig(url=f"{scheme}://h")
    assert url_endpoint(config).is_tls and tls_context(config) is not None and redis_py_options(config, 1.0)["ssl"]
    with EventStore(f"{scheme}://h") as store:
        assert store._redis.connection_pool.connection_class is redis.SSLConnection


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?foo=bar",
        "redis://h?db=abc",
        "redis://h?db=",
        "rediss://h?ssl_cert_reqs=none",
        "redis://h?socket_timeout=1",
        "redis://h/0#x",
        "redis://h/1/2",
        "redis://h/" + "9" * 5000,
        "redis://a..b",
        "redis://" + "a" * 64,
        "redis://h%00",
        "redis://h:0",
        "redis://[::1",
        "unix://run/redis.sock",
        "unix://",
        "unix:///run/%00",
        "redis://u:pa/ss@h",
        "redis://h?a=1&" * 100,
    ],
)
def test_what_is_not_read_in_a_url_is_refused_by_all_and_never_shown(url: str) -> None:
    for use in (read_url, EventStore, AsyncEventStore):
        with pytest.raises(BadUrl) as caught:
            use(url)
        assert url == "unix://" or url not in str(caught.value)
    assert checks.redis_problems(RedisConfig(url=url))


def test_a_program_may_name_user_and_password_in_its_url() -> None:
    with EventStore("redis://me:p%40ss@h:1/2") as store:
        options = store._redis.connection_pool.connection_kwargs
    assert [options[name] for name in ("host", "port", "db", "username", "password")] == ["h", 1, 2, "me", "p@ss"]
    assert checks.redis_problems(RedisConfig(url="redis://me:p%40ss@h:1/2"))


def test_files_of_tls_that_are_no_pem_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    for key in ("ca_file", "cert_file"):
        config = RedisConfig(url="rediss://h", tls=TlsConfig(**{key: str(path)}))
        assert [problem.path for problem in tls_problems(config)] == [f"redis.tls.{key}"]
    assert not list(tls_problems(RedisConfig(url="redis://h", tls=TlsConfig(ca_file=str(path)))))
