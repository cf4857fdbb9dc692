"""``colony-pool``: tokens for shell scripts, and a demo.

Exit codes: 0 done, 2 misused, 3 denied, 4 throttled, 5 unavailable, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

MISUSED, DENIED, THROTTLED, UNAVAILABLE, INTERRUPTED = 2, 3, 4, 5, 130
_MISSING = 'colony-pool: the command line needs two more packages: pip install "colony_pool[cli]"'


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = sys.argv[1:] if argv is None else argv
    if args[:1] == ["demo"]:
        _patch_for_demo(args)
    try:
        import typer

        from ._commands import app
    except ImportError:
        print(_MISSING, file=sys.stderr)
        return MISUSED
    try:
        code = app(args=args, prog_name="colony-pool", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        print("\ncolony-pool: interrupted", file=sys.stderr)
        return INTERRUPTED
    except typer.Exit as exit_:
        return int(exit_.exit_code)
    except Exception as error:
        # typer may carry click under a name of its own: its usage errors are known by what they can do.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        raise
    return int(code or 0)


def _patch_for_demo(args: list[str]) -> None:
    """Greenlets need patched sockets before the demo begins; TLS has no part in it."""
    if "threads" in args or "--runtime=threads" in args or "--help" in args:
        return
    try:
        from gevent import monkey
    except ImportError:
        return
    monkey.patch_all(ssl=False)


def run_token(api_key_file: Path | None, base_url: str | None, max_wait: float, *, as_json: bool) -> int:
    from . import ColonyAPIError, ColonyPool

    key = _read_key(api_key_file)
    if key is None:
        return MISUSED
    try:
        with ColonyPool(base_url, registry=None) as pool:
            jwt = pool.agent(key).token(max_wait=max_wait)
            expiry = pool.status().tokens.earliest_expiry
    except ValueError as error:
        return _failed(str(error), MISUSED, as_json, {})
    except ColonyAPIError as error:
        return _report(error, as_json)
    print(json.dumps({"token": jwt, "expires_at": expiry}) if as_json else jwt)
    return 0


def _read_key(api_key_file: Path | None) -> str | None:
    if api_key_file is not None:
        try:
            key = api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            print(f"colony-pool: cannot read the key file {api_key_file}: {reason}", file=sys.stderr)
            return None
        where = f"the key file {api_key_file} is empty"
    else:
        key = os.environ.get("COLONY_API_KEY", "").strip()
        where = "no API key: set COLONY_API_KEY, or pass --api-key-file FILE"
    if not key:
        print(f"colony-pool: {where}", file=sys.stderr)
        return None
    return key


def _report(error: Exception, as_json: bool) -> int:
    from . import ColonyAuthError, ColonyNetworkError, ColonyRateLimitError, ColonyServerError

    after = getattr(error, "retry_after", None)
    if isinstance(error, ColonyRateLimitError):
        code = THROTTLED
    elif isinstance(error, (ColonyServerError, ColonyNetworkError)):
        code = UNAVAILABLE
    elif isinstance(error, ColonyAuthError):
        code = DENIED
    else:
        code = DENIED if 400 <= getattr(error, "status", 0) < 500 else UNAVAILABLE
    facts = {"error": type(error).__name__, "status": getattr(error, "status", 0), "retry_after": after}
    when = f" [come back in {after:.0f} s]" if after else ""
    return _failed(f"{error}{when}", code, as_json, facts)


def _failed(message: str, code: int, as_json: bool, facts: dict[str, Any]) -> int:
    if as_json:
        print(json.dumps({**facts, "message": message, "exit_code": code}))
    print("colony-pool: " + " ".join(message.split()), file=sys.stderr)
    return code


def run_demo(agents: int, report: Path | None, metrics_port: int | None, runtime: str, *, as_json: bool) -> int:
    try:
        from rich.console import Console

        from ._demo.play import play, show
        from ._runtime.select import make_runtime
    except ImportError:
        print(_MISSING, file=sys.stderr)
        return MISUSED
    if report is not None and not report.parent.is_dir():
        return _failed(f"--report {report}: there is no folder {report.parent}", MISUSED, False, {})
    try:
        chosen = make_runtime(runtime, 1).name
    except (ValueError, ImportError) as error:
        return _failed(str(error), MISUSED, False, {})
    console = Console(stderr=as_json)
    console.print(
        f"{agents} agents on {chosen}, twice: on one colony_pool, and each alone. Ctrl-C ends it.", highlight=False
    )
    ours, theirs = play(agents, chosen, console, metrics_port=metrics_port)
    show(ours, theirs, console, report)
    if as_json:
        print(json.dumps({"colony_pool": ours.as_dict(), "alone": theirs.as_dict()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
