"""The pure core: what is decided, and when. No socket, no process, no clock but the test's."""
