"""One batch's way: the source, the engine, the ledger and the sinks."""
