"""Real servers, many processes, network namespaces: what takes more than the library alone."""
