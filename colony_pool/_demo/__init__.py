"""The demo: an outage and its end, over real sockets, for a pool and for agents on their own.

``run`` is one fleet in one outage, ``stage`` carries the plan out for it; ``fleets`` makes the two kinds of agents.
``play`` runs both at the same time, those on their own in a process ``beside``; ``view`` draws them meanwhile,
``table`` and ``report`` say afterwards what became of them.
"""
