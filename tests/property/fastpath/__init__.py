"""The property tests of fastpath."""
