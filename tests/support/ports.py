"""Free TCP ports on 127.0.0.1, each for one who asks."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

# Below it a port may need root, or belong to a well-known service.
LOWEST = 10_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_taken: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that are free and stay so until this process binds them.

    The kernel's own choice (`bind` to 0) would be free a moment ago: it gives the same port to the next connection of
    whatever program. These are outside of what it chooses from, and no other process of ours is given them.
    """
    first_of_kernel = int(RANGE.read_text().split()[0])
    highest = first_of_kernel if first_of_kernel > LOWEST + 1000 else 65_536
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, highest), 1000):
        if len(found) == count:
            break
        if _reserve(port) and _is_free(port):
            found.append(port)
    assert len(found) == count, "no free ports"
    return found


def listens(path: Path) -> bool:
    """Whether a unix socket takes connections. Its file is there before it does."""
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(os.fsencode(path)) == 0


@cache
def _reservations() -> int:
    """A file in which a byte is locked for each port. The kernel frees them with the process."""
    path = Path(tempfile.gettempdir(), f"ingestd-test-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _reserve(port: int) -> bool:
    if port in _taken:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    _taken.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
