"""What looks at a running pipeline and reports it: health, lag, status, HTTP, taps, systemd."""
