"""What the project's own targets run: wheels and checks. Nothing of it is installed."""
