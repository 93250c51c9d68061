"""What a config means for the pipeline's components: the engine's limits, old topics, headers of correlation IDs."""

from ..config.kafka_consumers import held_bytes_max
from ..config.schema import Config
from ..events.old_topics import Converter
from ..events.vocabulary import FAULT_MESSAGES, FAULT_STAGES, Fault
from .engine import Limits


def limits_of(config: Config) -> Limits:
    """The engine's limits."""
    pipeline = config.pipeline
    return Limits(pipeline.batch_events_max, pipeline.in_flight_events_max, held_bytes_max(config))


def make_converter(config: Config) -> Converter | None:
    """For old topics, when some are read."""
    topics, service_name = config.old_topics(), config.observability.event_streaming.service_name
    return Converter(topics, service_name, config.pipeline.event_bytes_max) if topics else None


def correlation_headers(config: Config) -> list[str]:
    """Where a correlation ID is looked for when the event itself has none."""
    return [config.observability.event_streaming.correlation_id_header, "correlation_id"]


def fault_texts() -> list[tuple[str, str, str]]:
    """(class, stage, message) by Fault, for the headers of dead letters."""
    return [(fault.name.lower(), FAULT_STAGES.get(fault, ""), FAULT_MESSAGES.get(fault, "")) for fault in Fault]
