"""The version, for whoever must name it without importing the library."""

__version__ = "0.1.0"
