"""The private Redis of the demo. In: a server that is slow. Out: one that answers when it is given away."""

import socket
import sys
from pathlib import Path

import pytest

from ingestd.cli.private_redis import PrivateRedis
from ingestd.errors import IngestdError

SLOW_SERVER = """#!{python}
import socket, sys, time
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[sys.argv.index("--unixsocket") + 1])
time.sleep(0.5)  # as a busy machine takes the processor away here
listening.listen()
listening.accept()[0].recv(1)
time.sleep(60)
"""


def server(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("REDIS_SERVER", str(path))


def test_it_is_waited_for_until_it_listens_and_not_only_until_its_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(tmp_path / "slow", SLOW_SERVER, monkeypatch)
    redis = PrivateRedis(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(redis.socket))
    finally:
        redis.stop()


def test_one_that_ends_is_an_error_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server(tmp_path / "broken", "#!/bin/sh\necho no memory; exit 1\n", monkeypatch)
    with pytest.raises(IngestdError, match="no memory"):
        PrivateRedis(tmp_path)
