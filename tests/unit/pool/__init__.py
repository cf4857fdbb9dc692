"""The public pool, most of it in virtual time."""
