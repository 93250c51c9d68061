"""`with` and `async with` for what has a `close`."""

from types import TracebackType
from typing import Self

from ..errors import IngestdError


class Closing:
    """Is closed at the end of a `with` block. What `close` raises does not hide an error of the block."""

    def close(self) -> None:
        """At the end of the block."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except IngestdError:
            # Events that were given up, as a producer's: they are in the log and in their futures too.
            if error is None:
                raise


class AsyncClosing:
    """As Closing, for `async with`."""

    async def close(self) -> None:
        """At the end of the block."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except IngestdError:
            if error is None:
                raise
