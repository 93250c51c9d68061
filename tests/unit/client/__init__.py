"""The unit tests of client."""
