"""The integration tests of pipeline."""
