"""The unit tests of support."""
