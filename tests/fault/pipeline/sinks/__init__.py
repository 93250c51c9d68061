"""The fault tests of pipeline/sinks."""
