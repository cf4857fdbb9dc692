"""A fleet of real processes through an outage of an hour, scaled: ``python -m tests.tools.scale.play``."""
