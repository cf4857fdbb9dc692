"""``python -m tests.tools.mutation``: break the deciding code in every small way, and see that a test minds.

mutmut makes the mutants and runs the tests that are named under ``[tool.mutmut]``; this adds the record of the
mutants that may survive, each with its reason, and fails if any other does, if any was not tried, and if a reason is
on record that no survivor needs. It goes on where it was interrupted.
Mutants that survived are tried again, since there may be new tests; those that were killed are not, until their
function changes or ``--fresh`` is given.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from .survivors import SURVIVORS, Survivor
from .verdict import KILLED, judge, lines

MUTANTS = Path("mutants")


def metas() -> list[Path]:
    """What is known of the mutants, one file per module."""
    return sorted(MUTANTS.glob("colony_pool/**/*.meta"))


def exit_codes(meta: Path) -> dict[str, int | None]:
    """The exit code of the tests, by mutant."""
    codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    return codes


def forget_survivors() -> None:
    """Have everything tried again that was not killed."""
    for meta in metas():
        facts = json.loads(meta.read_text())
        codes = facts["exit_code_by_key"]
        facts["exit_code_by_key"] = {name: code if code in KILLED else None for name, code in codes.items()}
        meta.write_text(json.dumps(facts, indent=4))


def described(name: str, module: str) -> Survivor:
    """The mutant in words: where it is, the line, and what became of it."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diff = get_diff_for_mutant(name, path=module).splitlines()[2:]
    old, new = (" ".join(line[1:].strip() for line in diff if line[0] == sign) for sign in "-+")
    mangled = name.rpartition(".")[2].partition("__mutmut_")[0]
    function = mangled[2:].replace("ǁ", ".") if mangled.startswith("xǁ") else mangled[2:]
    return Survivor(module, function, old, new)


def report() -> bool:
    """Print what became of the mutants of each module, and say whether all is well."""
    results = {str(meta.relative_to(MUTANTS).with_suffix("")): exit_codes(meta) for meta in metas()}
    verdict = judge(results, described, SURVIVORS)
    print(*lines(verdict), sep="\n")
    return verdict.is_clean


def main() -> int:
    """Run what is left to run, and report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.mutation", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("modules", nargs="*", help="run these modules anew, such as limiter; default: all")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have found")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    if args.fresh:
        shutil.rmtree(MUTANTS, ignore_errors=True)
    if not args.report:
        forget_survivors()
        names = [f"colony_pool.*.{module}.*" for module in args.modules]
        command = ["mutmut", "run", "--max-children", str(args.processes), *names]
        if code := subprocess.run(command, check=False).returncode:
            return code
    return 0 if report() else 1


if __name__ == "__main__":
    sys.exit(main())
