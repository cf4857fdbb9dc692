"""The mutants that may survive, each with its reason. Matched by words, not by number or line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Survivor:
    """``line`` of ``function`` became ``becomes``, and no test can mind, because of ``reason``."""

    module: str
    function: str
    line: str
    becomes: str
    reason: str = ""


SURVIVORS: tuple[Survivor, ...] = ()
