"""The unit tests of cli/demo."""
