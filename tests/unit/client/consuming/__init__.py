"""The unit tests of client/consuming."""
