"""FakeColony and SimRuntime, which are public."""
