"""What is read as a config and as a secret: files, standard input, FIFOs; and what is no text is said in words."""

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingestd.config import config_source
from ingestd.config.loading import load
from ingestd.config.schema import Config, RedisConfig
from ingestd.config.secrets import read_secret, unreadable_files
from ingestd.errors import ConfigError, Problem

TEXT = b"kafka: {group_id: g}"


def problem_of(content: bytes, folder: Path) -> Problem:
    path = folder / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    (problem,) = caught.value.problems
    return problem


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT)))
    assert load("-").kafka.group_id == "g" and config_source.is_read_once("-")


def test_a_fifo_is_read_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert config_source.is_read_once(str(fifo))
    writer = threading.Thread(target=fifo.write_bytes, args=(TEXT,))
    writer.start()
    assert load(str(fifo)).kafka.group_id == "g"
    writer.join()


def test_a_file_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(TEXT)
    assert not config_source.is_read_once(str(path)) and not config_source.is_read_once("/not/there")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("kafka: {}".encode("utf-16"), "UTF-16"),
        ("kafka: {}".encode("utf-16-le"), "UTF-16"),
        (b"kafka:\n  group_id: \xff", "0xff is no UTF-8"),
        (b"a: \xed\xa0\x80", "0xed is no UTF-8"),
        (b"a: \0", "U+0000"),
        (b"#" * (config_source.FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_what_is_no_text_is_said_in_words(content: bytes, what: str, tmp_path: Path) -> None:
    problem = problem_of(content, tmp_path)
    assert what in problem.what
    if b"\n" in content and "0xff" in what:
        assert problem.place.endswith("config.yaml:2:13")


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT)
    assert load(str(path)).kafka.group_id == "g"


@pytest.mark.parametrize("named", ["/", "/proc/self/mem", "a\0b", "/dev/zero"])
def test_a_place_that_holds_no_config_is_said_in_words(named: str) -> None:
    with pytest.raises(ConfigError):
        load(named)


# Secrets.


def secret_problem(path: Path) -> list[str]:
    config = Config(redis=RedisConfig(password_file=str(path)))
    return [problem.what for problem in unreadable_files(config)]


def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xef\xbb\xbfpass\r\n")
    assert read_secret(str(path)) == "pass"


@pytest.mark.parametrize(
    ("content", "what"), [(b"a\0b", "NUL"), (b"\xff", "UTF-8"), (b"", "empty"), (b"a" * 100_000, "larger than")]
)
def test_a_file_that_is_no_password_is_a_problem(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    (found,) = secret_problem(path)
    assert what in found
    if content:
        with pytest.raises(OSError, match=what):
            read_secret(str(path))


def test_what_could_be_waited_for_or_never_end_is_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        assert len(secret_problem(place)) == 1
    config = Config(redis=RedisConfig(url="rediss://h"))
    assert list(unreadable_files(config)) == []
