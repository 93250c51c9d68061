"""`python -m ingestd`: the command line."""

from ingestd.cli import main

main()
