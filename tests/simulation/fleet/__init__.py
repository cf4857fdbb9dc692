"""Many pools that share a store, on virtual time (``python -m tests.simulation.fleet``)."""
