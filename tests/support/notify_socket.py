"""systemd's end of $NOTIFY_SOCKET. Datagrams in; lists of assignments out."""

import socket
from types import TracebackType


class NotifySocket:
    """A bound socket; `environment` is what systemd would set. `@name` is in the abstract namespace."""

    def __init__(self, address: str, **more: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address, **more}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._seen: list[list[str]] = []

    def __enter__(self) -> "NotifySocket":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def messages(self) -> list[list[str]]:
        """Everything that came so far, each as its assignments."""
        while True:
            try:
                self._seen.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return self._seen

    def heads(self) -> list[str]:
        """The first assignment of each message."""
        return [message[0] for message in self.messages()]
