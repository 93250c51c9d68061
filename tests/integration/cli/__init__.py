"""The integration tests of cli."""
