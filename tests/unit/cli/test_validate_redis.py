"""What `validate` makes of a Redis's own words. In: INFO and a config. Out: faults, warnings and notes."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingestd.cli.validate import Findings, RedisAnswer, check_redis, judge_redis
from ingestd.config.redis_options import Endpoint
from ingestd.config.schema import RedisConfig

GOOD = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "role": "master",
    "connected_slaves": 0,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}


def judged(config: RedisConfig | None = None, save: str | None = "3600 1", **info: Any) -> Findings:
    findings = Findings()
    answer = RedisAnswer(Endpoint("10.0.0.7", 6379, None, 0, False), GOOD | info, save)
    judge_redis(config or RedisConfig(), "redis.url", answer, findings)
    return findings


def test_a_good_one_is_told_with_version_role_and_address() -> None:
    findings = judged()
    assert findings.faults == findings.warnings == findings.notes == []
    assert findings.checked == ["redis: Redis 7.0.15, master, at 10.0.0.7:6379"]


@pytest.mark.parametrize("version", ["6.2.0", "6.2", "7", "8.0-rc1", "10.0.1", "255.255.255"])
def test_a_version_that_is_new_enough_is_no_fault(version: str) -> None:
    assert judged(redis_version=version).faults == []


@pytest.mark.parametrize("version", ["6.1.9", "6.0", "5.0.14", "2.8.24", "", "unknown"])
def test_a_version_that_is_too_old_is_a_fault_that_names_what_is_needed(version: str) -> None:
    (fault,) = judged(redis_version=version).faults
    assert fault.path == "redis.url" and "too old" in fault.what and "6.2" in fault.mend


def test_a_redis_that_does_not_tell_its_version_is_too_old() -> None:
    findings = Findings()
    judge_redis(RedisConfig(), "redis.url", RedisAnswer(Endpoint("h", 1, None, 0, False), {}, None), findings)
    assert [fault.what for fault in findings.faults] == ["Redis 0 is too old"]


def test_valkey_is_told_by_its_own_version() -> None:
    findings = judged(redis_version="7.2.4", valkey_version="8.1.0")
    assert findings.faults == [] and findings.checked[0].startswith("redis: Valkey 8.1.0, ")


def test_a_replica_is_a_fault_as_it_takes_no_writes() -> None:
    (fault,) = judged(role="slave").faults
    assert "is a slave" in fault.what and "redis.sentinel" in fault.mend


def test_a_part_of_a_cluster_is_a_fault() -> None:
    (fault,) = judged(redis_mode="cluster").faults
    assert "Cluster" in fault.what


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_policy_that_removes_keys_is_a_warning_with_the_command_that_ends_it(policy: str) -> None:
    (warning,) = judged(maxmemory_policy=policy).warnings
    assert policy in warning.what and "maxmemory-policy noeviction" in warning.mend


def test_more_replicas_than_are_there_are_a_warning_at_their_key() -> None:
    config = RedisConfig(wait_replicas=2)
    (warning,) = judged(config, connected_slaves=1).warnings
    assert warning.path == "redis.wait_replicas" and "2 are waited for, 1 are connected" in warning.what
    assert judged(config, connected_slaves=2).warnings == []


@pytest.mark.parametrize(
    ("aof", "save", "noted"), [(0, "", True), (0, "3600 1", False), (1, "", False), (0, None, False)]
)
def test_a_redis_that_keeps_nothing_is_a_note_if_it_says_so(aof: int, save: str | None, noted: bool) -> None:
    findings = judged(save=save, aof_enabled=aof)
    assert [note.path for note in findings.notes] == ["redis.url"] * noted
    assert findings.exit_code == 0


def test_everything_that_is_wrong_is_told_at_once() -> None:
    findings = judged(
        RedisConfig(wait_replicas=1), redis_version="5.0", role="slave", redis_mode="cluster", maxmemory_policy="x"
    )
    assert (len(findings.faults), len(findings.warnings), findings.exit_code) == (3, 2, 1)


@contextmanager
def server_that_says(*lines: str) -> Iterator[str]:
    """Whoever connects and asks gets these lines. The URL of a server."""

    class Says(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("lines", "path", "what"),
    [
        (["-NOAUTH Authentication required.", "$1"], "redis.password_file", "refuses the user or the password: NOAUTH"),
        (["-WRONGPASS other words", "-NOAUTH x", "-NOAUTH x"], "redis.password_file", "or the password: WRONGPASS oth"),
        (["-ERR AUTH <password> called without any"], "redis.password_file", "the user or the password: ERR AUTH"),
        (["+OK", "+OK", "-NOPERM other words"], "redis.url", "answers with an error: NOPERM other words"),
        (["+OK", "-ERR DB index is out of range"], "redis.url", "with an error: ERR DB index is out of range"),
        (["-ERR max number of clients reached"], "redis.url", "with an error: ERR max number of clients reached"),
        (["+OK", "+OK", "-LOADING Redis is loading"], "redis.url", "answers with an error: LOADING Redis is loading"),
        (["HTTP/1.1 400 Bad Request"], "redis.url", "what answers there is no Redis: 'HTTP/1.1 400 Bad Request'"),
        ([], "redis.url", "does not answer: it closed the connection"),
    ],
)
def test_why_redis_refuses_is_told_by_its_own_line(lines: list[str], path: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    findings = Findings()
    with server_that_says(*lines) as url:
        check_redis(RedisConfig(url=url, password_file=str(tmp_path / "password")), findings)
    (fault,) = findings.faults
    assert fault.path == path and what in fault.what and "secret" not in str(fault)
