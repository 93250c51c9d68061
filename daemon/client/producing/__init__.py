"""Publishing: producers for threads and for asyncio, and the handler for the standard `logging`."""
