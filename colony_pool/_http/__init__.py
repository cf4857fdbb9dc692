"""One request, one answer: urllib3 does HTTP."""
