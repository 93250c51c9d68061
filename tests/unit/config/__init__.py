"""The unit tests of config."""
