"""The unit tests of fastpath."""
