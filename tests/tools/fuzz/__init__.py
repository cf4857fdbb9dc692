"""Hostile input: what must hold of any bytes that a server, a file or an environment can hand to this library.

``targets`` holds the properties, each a function of bytes. Hypothesis draws for them in every test run
(``tests/unit/http/test_hostile.py``); a coverage-guided fuzzer searches on demand: ``python -m tests.tools.fuzz
TARGET``.
"""
