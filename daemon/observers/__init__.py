"""What looks at a running pipeline and tells others: health, lag, status, HTTP, taps, systemd."""
