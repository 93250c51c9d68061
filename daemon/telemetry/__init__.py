"""What components count and log in: metrics, the loop's phases, what happens to a daemon."""
