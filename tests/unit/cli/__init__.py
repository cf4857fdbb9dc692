"""Each command of colony-pool, run as a shell runs it."""
