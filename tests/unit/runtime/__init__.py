"""Threads and greenlets, and a system that grants none."""
