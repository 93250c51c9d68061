"""What a config asks of the fast path: the keyword arguments of its RouteTable. Pure."""

from ..config.schema import Config
from ..events.rules import mask_of
from ..events.vocabulary import TYPE_NAMES, PartitionBy


def table_arguments(config: Config) -> dict[str, int]:
    """The keyword arguments of `_fastpath.RouteTable` that a config stands for."""
    storage, streaming = config.storage, config.observability.event_streaming
    return {
        "partition_by": PartitionBy[config.kafka.partition_by.upper()],
        "event_bytes_max": config.pipeline.event_bytes_max,
        "stored_types_mask": mask_of(storage.types, TYPE_NAMES),
        "index_correlation": "correlation" in storage.indexes and streaming.enable_correlation_tracking,
        "index_trace": "trace" in storage.indexes and streaming.enable_distributed_tracing,
        "compact": storage.layout == "compact",
        "events_ttl_s": storage.events_ttl_s,
        "logs_ttl_s": storage.logs_ttl_s,
        "error_logs_ttl_s": storage.error_logs_ttl_s,
        "traces_ttl_s": storage.traces_ttl_s,
        "alerts_ttl_s": storage.alerts_ttl_s,
        "index_members_max": storage.index_members_max,
    }
