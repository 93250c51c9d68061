"""The integration tests of client/lookup."""
