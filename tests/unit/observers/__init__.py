"""The unit tests of observers."""
