"""Reads what a message of confluent-kafka holds: where it stands in Kafka, and its headers."""

from confluent_kafka import Message

Place = tuple[str, int, int]  # topic, partition, offset


def place_of(message: Message) -> Place:
    """Where it stands."""
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def header_pairs(message: Message) -> list[tuple[str, str | bytes | None]]:
    """The headers in their order; a name may stand more than once."""
    headers = message.headers()
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(str(name), value) for name, value in pairs]
