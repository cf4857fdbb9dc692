"""``python -m tests.tools.fuzz TARGET [--seconds 300] [--corpus FOLDER]``: a coverage-guided search, with atheris.

``pip install -e '.[test,fuzz]'`` first. What it finds worth keeping lands in the corpus, so that the next search
begins where this one ended. A finding ends the search with a traceback, and its input in a file ``crash-...``, which
``python -m tests.tools.fuzz TARGET crash-...`` plays again. ``all`` searches each target in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

SEEDS = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\nDate: Tue, 22 Sep 2026 00:00:00 GMT\r\n\r\n{"access_token": "a.b.c"}',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n{"access_token": "a.b.c"}\r\n0\r\nX: y\r\n\r\n',
    b'HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nX-RateLimit-Remaining: 0\r\n\r\n{"detail": {"message": "no"}}',
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 502 Bad Gateway\r\n\r\n<html>",
    b'{"access_token": "a.eyJleHAiOiAxNzkwMDAwMDYwfQ.c", "expires_in": 3600, "detail": {"message": "", "code": ""}}',
    b"120\n0\n1790000060\nTue, 22 Sep 2026 00:00:00 GMT",
    b"e30.eyJleHAiOiAxNzkwMDAwMDYwfQ.c",
    b'{"v": 1, "token": "a.b.c", "expiry": 1790003600.5}',
]
# What a search at random would take hours to spell.
WORDS = [
    b"access_token", b"expires_in", b"detail", b"message", b"error", b"code", b"exp", b"token", b"expiry", b'"v": 1',
    b"AUTH_2FA_INVALID", b"HTTP/1.1 ", b"Content-Length: ", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip",
    b"Connection: close", b"Retry-After: ", b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: ", b"Date: ",
    b"\r\n\r\n", b"100 Continue", b"1e400", b"-1", b"1790000060", b"NaN", b"Infinity", b"null", b"true", b"\\ud800",
    b"\\u0000", b"Tue, 22 Sep 2026", b" GMT", b" -2359",
]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.fuzz")
    parser.add_argument("target", help="answer, token_answer, header_values, jwt, cache_file or all")
    parser.add_argument("inputs", nargs="*", help="files to play instead of a search")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"))
    return parser.parse_args()


def _escaped(word: bytes) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def _search(name: str, options: argparse.Namespace) -> None:
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        sys.exit("python -m tests.tools.fuzz: atheris is not installed: pip install -e '.[test,fuzz]'")
    with atheris.instrument_imports(include=["colony_pool", "http.client", "email", "json"]):
        from tests.tools.fuzz import targets
    corpus = options.corpus / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = options.corpus / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))
    targets.own_cache()
    places = options.inputs or [str(corpus), f"-dict={words}", f"-max_total_time={options.seconds}"]
    atheris.Setup([sys.argv[0], *places, "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"], targets.TARGETS[name])
    atheris.Fuzz()


def _all(options: argparse.Namespace) -> int:
    from tests.tools.fuzz.targets import TARGETS

    command = [sys.executable, "-m", "tests.tools.fuzz", f"--seconds={options.seconds}", f"--corpus={options.corpus}"]
    return max(subprocess.run([*command, name], check=False).returncode for name in TARGETS)


def main() -> int:
    options = _arguments()
    if options.target == "all":
        return _all(options)
    _search(options.target, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
