"""The unit tests of client/lookup."""
