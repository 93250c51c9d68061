"""The integration tests of client/consuming."""
