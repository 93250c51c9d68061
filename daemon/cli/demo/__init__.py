"""`ingestd demo`: everything on one machine, on a mock Kafka and a private Redis."""
