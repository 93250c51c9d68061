"""Where batches go: Kafka topics and Redis."""
