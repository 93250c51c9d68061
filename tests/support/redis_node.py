"""A Redis or Valkey server on a free port, in a folder of its own."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingestd.cli.demo.private_redis import find_server
from tests.support.ports import free_ports
from tests.support.wait import wait_until


class RedisNode:
    """Start, stop, kill, freeze. With `keep_data` what was acknowledged is there after a stop (append-only file)."""

    def __init__(self, folder: Path, keep_data: bool = False, extra: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            "--appendonly",
            "yes" if keep_data else "no",
            "--daemonize",
            "no",
            *extra,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisNode":
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(
                [find_server(), *self.arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, "Redis answers", 20)
        return self

    def _answers(self) -> bool:
        """Whether it is there, also where it wants a password. Asked without a client library, whose errors may have
        any reason: what ended at once is said with its log."""
        assert self.process is not None
        ended = self.process.poll()
        assert ended is None, f"redis-server ended with {ended}: {(self.folder / 'redis.log').read_text()[-1000:]}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as asking:
                asking.sendall(b"PING\r\n")
                return asking.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except ConnectionRefusedError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=20, retry=Retry(NoBackoff(), 0))

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)
