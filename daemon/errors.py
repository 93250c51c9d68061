"""Every error that ingestd raises on purpose.

IngestdError
  ConfigError              a config that may not run; carries every problem at once        exit 78
  MissingExtra             a package is not installed; says the command that installs it   exit 1
  NativeEdgeError          librdkafka is missing, too old or of another layout             exit 1
  KafkaFailure             librdkafka refused a call; carries its code and name
  SinkError
    RedisUnavailable       the same bytes may succeed later: they are sent again
    RedisProtocolError     what came back is no reply to what was sent: the connection is made again
"""

from typing import NamedTuple


class IngestdError(Exception):
    """Base of all."""


class Problem(NamedTuple):
    """One thing wrong with a config: `path` as in `kafka.topics.logs`, what is wrong, and the mend.

    place: FILE:LINE:COLUMN where it stands; empty where no file has it.
    """

    path: str
    what: str
    mend: str = ""
    place: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}"
        text = f"{text} ({self.mend})" if self.mend else text
        return f"{self.place}: {text}" if self.place else text


class ConfigError(IngestdError):
    """The config may not run. `problems` names all of them, not only the first."""

    def __init__(self, problems: list[Problem], source: str = "") -> None:
        self.problems = problems
        self.source = source
        super().__init__("\n".join(str(problem) for problem in problems))


# What comes by an extra: module -> the name under which it is installed, and the smallest extra that brings it.
EXTRA_OF = {
    "redis": ("redis", "lookup"),
    "yaml": ("PyYAML", "config"),
    "aiohttp": ("aiohttp", "daemon"),
    "click": ("click", "daemon"),
    "prometheus_client": ("prometheus-client", "daemon"),
    "rich": ("rich", "daemon"),
    "uvloop": ("uvloop", "daemon"),
}


class MissingExtra(IngestdError, ImportError):
    """A package that only some uses of ingestd need is not installed. The text has the command that installs it."""


def missing_extra(error: ModuleNotFoundError, use: str, extra: str | None = None) -> ImportError:
    """What to raise in place of `error`: MissingExtra when the module comes by an extra, else `error` itself.

    extra: the one that `use` needs as a whole; None: the smallest that has the module.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_OF:
        return error
    package, smallest = EXTRA_OF[module]
    command = f"pip install 'ingestd[{extra or smallest}]'"
    return MissingExtra(f"{use} needs {package}, which is not installed: {command}", name=module)


class NativeEdgeError(IngestdError):
    """The librdkafka of the confluent-kafka wheel is not one that the native edge was tried with."""


class KafkaFailure(IngestdError):
    """librdkafka answered with an error. `code` is the number, `name` as in `_ALL_BROKERS_DOWN`."""

    def __init__(self, code: int, name: str, text: str) -> None:
        self.code = code
        self.name = name
        super().__init__(f"{name}: {text}")


class SinkError(IngestdError):
    """A sink could not take or finish a batch."""


class RedisUnavailable(SinkError):
    """Redis is not there, is loading, or refuses writes for now: the same bytes may succeed later."""


class RedisProtocolError(SinkError):
    """A reply that fits no command: the connection is closed and the batches are sent again on a new one."""
