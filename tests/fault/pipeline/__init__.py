"""The fault tests of pipeline."""
