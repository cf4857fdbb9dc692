"""The whole library on virtual time, in scenarios drawn from a seed, with its promises checked after every event.

``python -m tests.sim --seeds 2000`` plays that many, ``python -m tests.sim --seed 123 --history`` one of them again.
Everything above the sockets is the real thing: agents, pool, attempts, dispatcher, runner, pybreaker, metrics, the
token cache on disk. The server, the clocks, the scheduler and the users are simulated.
"""
