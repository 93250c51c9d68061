"""The config: its keys, its file, its checks, and what it means for librdkafka and Redis."""
