"""systemd's end of $NOTIFY_SOCKET. Datagrams in; lists of assignments out."""

import select
import socket
import threading
from types import TracebackType


class NotifySocket:
    """A bound socket; `environment` is what systemd would set. `@name` is in the abstract namespace.

    It is read on a thread, as PID 1 reads: the kernel holds eleven datagrams (net.unix.max_dgram_qlen), and whoever
    sends more to one who does not read loses them. `reads=False` is such a one.
    """

    def __init__(self, address: str, reads: bool = True, **more: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address, **more}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._stop, self._stopped = socket.socketpair()
        self._lock = threading.Lock()  # a datagram that was taken from the socket is in `_seen` before another is taken
        self._seen: list[list[str]] = []
        self._reader = threading.Thread(target=self._read, name="notify-socket") if reads else None

    def __enter__(self) -> "NotifySocket":
        if self._reader is not None:
            self._reader.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.close()
        if self._reader is not None:
            self._reader.join()
        self._stopped.close()
        self._socket.close()

    def _read(self) -> None:
        while self._stopped not in select.select([self._socket, self._stopped], [], [])[0]:
            self.messages()

    def messages(self) -> list[list[str]]:
        """Everything that was sent so far, each as its assignments."""
        with self._lock:
            while True:
                try:
                    self._seen.append(self._socket.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    return list(self._seen)

    def heads(self) -> list[str]:
        """The first assignment of each message."""
        return [message[0] for message in self.messages()]
