"""ingestd: takes observability events in from Kafka. People use `ingestd.client` and `python -m ingestd`."""

__version__ = "0.1.0"
