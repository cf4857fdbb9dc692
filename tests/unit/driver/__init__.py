"""Between the core and the world: the driver, attempts, tokens and their cache."""
