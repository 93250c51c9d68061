"""The bench suite. Goals and non-goals are in README.md here."""
