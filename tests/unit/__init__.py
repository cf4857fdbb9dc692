"""Each part of the library by itself, in a folder of its name."""
