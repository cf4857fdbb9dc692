"""Programs that measure and search, with their own tests: each is a command."""
