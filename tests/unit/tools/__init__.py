"""The unit tests of tools."""
