"""The daemon's log lines on stderr: a fixed message with fields, for journald, for a terminal, or as JSON."""

import json
import logging
import os
import sys
import time
from typing import Final

# The numbers that journald reads from the head of a line when JOURNAL_STREAM is set.
_SYSLOG_LEVELS: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
LIBRARIES: Final = ("aiohttp", "asyncio")
# What a LogRecord has of itself; everything else came by `extra=`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _OWN}


class _Formatter(logging.Formatter):
    """One line an event, whatever the message holds."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        message = record.getMessage()
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        level = record.levelname.lower()
        if self.form == "json":
            return json.dumps({"time": stamp, "level": level, "message": message, **fields}, default=str)
        text = " ".join(
            [*message.splitlines(), *(f"{key}={json.dumps(value, default=str)}" for key, value in fields.items())]
        )
        if self.form == "journal":
            return f"<{_SYSLOG_LEVELS[record.levelname]}>{text}"
        return f"{stamp} {level:7} {text}"


def to_journal() -> bool:
    """Whether stderr is journald's. Children inherit the variable, also those that have a terminal or a file."""
    found = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def set_up(level: str, form: str) -> logging.Logger:
    """The daemon's logger. `auto`: journald's prefixes under systemd, plain on a terminal, else JSON."""
    if form == "auto":
        form = "journal" if to_journal() else "plain" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logger = logging.getLogger("ingestd")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    for name in LIBRARIES:
        # Else Python's last resort prints their warnings as bare lines, which no reader of JSON understands.
        library = logging.getLogger(name)
        library.handlers[:] = [handler]
        library.setLevel(logging.WARNING)
        library.propagate = False
    return logger
