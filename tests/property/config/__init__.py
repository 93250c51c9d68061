"""The property tests of pipeline."""
