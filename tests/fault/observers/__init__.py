"""The fault tests of observers."""
