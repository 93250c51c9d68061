"""The unit tests of pipeline."""
