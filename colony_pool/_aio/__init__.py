"""asyncio: the same pool and the same probe, for callers that are tasks of an event loop."""
