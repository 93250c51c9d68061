"""What a tap costs: instructions an event of the fast path, with nobody looking on and with one tap open.

    PYTHONHASHSEED=0 valgrind --tool=callgrind --callgrind-out-file=/dev/null python -m bench.tap_cost none 4

Once with 4 and once with 24 batches: the difference is what 20 batches of 2,000 events take, and nothing else. Modes:
`none`; `match`: the fast path matches the events of one service; `look`: 50 of them a second are also shown, with a
field masked, at 100,000 events a second.
"""

import sys

from bench.events import make
from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.config.schema import Config
from ingestd.events.rules import MatchConfig, compile_rules
from ingestd.observers.taps import Tap, Taps
from ingestd.pipeline.route_table import table_arguments

EVENTS, BATCHES_MAX = 2000, 24
STAMP_MS = 1_799_999_999_123
BATCH_S = 0.02


def run(mode: str, batch_count: int) -> int:
    """Gives how many events the tap saw. All batches are loaded, so that only what is processed differs."""
    config = Config()
    clock_s = [0.0]
    taps = Taps(lambda: None, lambda: clock_s[0])
    tap = Tap(MatchConfig(services=("payments",)), 50, True, ["metadata.user"])
    if mode != "none":
        taps.open(tap)
    compiled, topics = compile_rules(config.rules, config.kafka.topics.outputs())
    table = RouteTable(compiled, taps=taps.rules, dead_taps=taps.dead_taps, **table_arguments(config))
    rows = [(make(index).payload, STAMP_MS, "in", 0, index % 4, index, None, False) for index in range(EVENTS)]
    batches = [Batch(EVENTS) for _ in range(BATCHES_MAX)]
    for batch in batches:
        batch.load(rows, ["X-Correlation-ID", "correlation_id"])
    cache = IndexCache()
    for batch in batches[:batch_count]:
        clock_s[0] += BATCH_S
        process_batch(batch, table, cache, STAMP_MS // 1000)
        if mode == "look":
            taps.look(batch, lambda index: "in", topics.names)
    return tap.seen


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2])))
