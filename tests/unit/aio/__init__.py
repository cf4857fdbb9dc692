"""Pools of event loops."""
