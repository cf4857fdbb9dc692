"""The demo: an outage and its end, over real sockets, for agents behind a pool and for agents on their own.

``demo`` runs all contestants at the same time: each has a server of its own (``timeline``) and agents in processes of
its own (``agents_main``), which ``processes`` starts, hears and ends. ``agents`` is what the agents do, ``clients``
makes the kinds of them. ``screen`` shows the contestants meanwhile, ``table`` and ``report`` say afterwards what
became of them.
"""
