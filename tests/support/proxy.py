"""A TCP proxy that cuts. It stands between a client and a server on 127.0.0.1, in the test's own loop."""

import asyncio
import socket
from contextlib import suppress


class CuttingProxy:
    """Cuts a connection when `cut_after_bytes` went up, or `cut_after_reply_bytes` came down, counted from `arm`.

    up_pause_s: the rest after every 64 KiB that go up, for a slow line. buffer_bytes: what the kernel may hold of what
    the client sent; None: the system's, which may be tens of megabytes."""

    def __init__(self, port: int, buffer_bytes: int | None = None) -> None:
        self._target_port = port
        self._buffer_bytes = buffer_bytes
        self.port = 0
        self._up_left: int | None = None
        self._down_left: int | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.up_pause_s = 0.0

    async def __aenter__(self) -> "CuttingProxy":
        listening = socket.create_server(("127.0.0.1", 0))
        if self._buffer_bytes:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        self._server = await asyncio.start_server(self._serve, sock=listening)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        """Closes every connection: uvloop warns of one that its loop's end finds open, and such a warning, made an
        error, leaves the loop closing for ever."""
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def arm(self, *, up_bytes: int | None = None, down_bytes: int | None = None) -> None:
        """The next cut; without arguments none."""
        self._up_left, self._down_left = up_bytes, down_bytes

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        ends, pumps = [writer], []
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(server_writer)
            pumps.append(asyncio.create_task(self._pump(reader, server_writer, "_up_left")))
            pumps.append(asyncio.create_task(self._pump(server_reader, writer, "_down_left")))
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the proxy ends; Python 3.12.1 takes a cancelled connection task for an error
        finally:
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.close()
                with suppress(OSError):
                    await end.wait_closed()
            self._serving.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: str) -> None:
        while data := await reader.read(65536):
            left = getattr(self, limit)
            if left is not None:
                writer.write(data[:left])
                setattr(self, limit, left - len(data[:left]))
                if len(data) >= left:
                    setattr(self, limit, None)
                    self.cuts += 1
                    await writer.drain()
                    return
            else:
                writer.write(data)
            await writer.drain()
            if limit == "_up_left" and self.up_pause_s:
                await asyncio.sleep(self.up_pause_s)
