"""The components of a running daemon that observers look at, in one bundle."""

from typing import NamedTuple

from ..pipeline.engine import Engine
from ..pipeline.ledger import Ledger
from ..pipeline.sinks.kafka import KafkaSink
from ..pipeline.sinks.redis import RedisSink
from ..pipeline.source import Source
from ..telemetry.metrics import Books, Counters


class Components(NamedTuple):
    """Made once, by `App`."""

    source: Source
    kafka: KafkaSink
    redis: RedisSink
    engine: Engine
    ledger: Ledger
    books: Books
    counters: Counters
