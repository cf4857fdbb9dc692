"""The package as a whole: its architecture, its options, its errors, what an import loads."""
