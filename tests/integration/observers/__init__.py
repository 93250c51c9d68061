"""The integration tests of observers."""
