"""`python -m ingestd`: the command line."""

from .cli import main

main()
