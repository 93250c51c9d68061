"""The unit tests of telemetry."""
