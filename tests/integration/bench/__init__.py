"""The integration tests of bench."""
