"""The demo: an outage and its end, over real sockets, for agents behind a pool and for agents on their own.

``play`` plays all sides at the same time: each has a server of its own (``trial``) and agents in ``worker`` processes
of its own, which ``hire`` starts, hears and ends. ``run`` is what the agents do, ``fleets`` makes the kinds of them.
``view`` draws the sides meanwhile (``panels``, or ``lines`` without a terminal), ``table`` and ``report`` say
afterwards what became of them.
"""
