"""The integration tests of client."""
