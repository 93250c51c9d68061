"""What verbs of the command line share."""
