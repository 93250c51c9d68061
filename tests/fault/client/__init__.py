"""The fault tests of client."""
