"""The integration tests of docs."""
