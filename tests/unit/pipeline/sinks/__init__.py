"""The unit tests of pipeline/sinks."""
