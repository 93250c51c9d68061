"""The unit tests of bench."""
