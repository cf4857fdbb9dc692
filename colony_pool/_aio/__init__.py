"""asyncio: the same pool, desk and probe, for callers that are tasks of an event loop."""
