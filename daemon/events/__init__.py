"""What programs publish: the words of the wire, the rules, and the topics of the pipeline before ingestd."""
