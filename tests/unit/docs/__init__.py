"""The unit tests of docs."""
