"""The demo: an outage and its end, over real sockets, for a pool and for agents on their own.

``run`` is one fleet in one outage; ``fleets`` makes the two kinds of agents; ``play`` directs both at the same time,
``view`` draws them meanwhile, ``table`` and ``report`` say afterwards what became of them.
"""
