"""Looking up what the daemon has stored: events, correlations and traces."""
