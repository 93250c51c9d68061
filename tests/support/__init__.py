"""What the tests stand on: real servers, a plain-Python twin of the fast path, shapes of events."""
