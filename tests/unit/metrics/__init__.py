"""Counters, the catalogue, the collector and the log."""
