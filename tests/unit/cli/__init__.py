"""The unit tests of cli."""
