"""Reading events as they come: consumers for threads and for asyncio."""
