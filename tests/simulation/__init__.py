"""The whole library on virtual time, in scenarios drawn from a seed, with its promises checked after every event.

``python -m tests.simulation --seeds 2000`` plays that many, ``python -m tests.simulation --seed 123 --history`` one
of them again. Everything above the sockets is the real thing: agents, pool, attempts, dispatcher, runner, pybreaker,
metrics, the token cache on disk. The server, the clocks, the scheduler and the users are simulated.
"""
