"""For other people's programs."""
