"""The demo: an outage and its end, over real sockets, for a pool and for agents on their own."""
