"""Draws ``dashboards/preview.png``: the virtual night, through a real Prometheus, in a headless Chromium.

``python -m tests.dashboards.picture`` needs what the tests need, and ``chromium``.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from dashboards.preview import COLUMN, ROW_HEIGHT, Range, asker, page

from .endpoint import AFTERNOON, NOW
from .history import play
from .prom import Prometheus
from .reading import load
from .tools import DASHBOARDS, need, run

HEADER = 44


def draw(server: Prometheus, rows: int) -> str:
    """The page as it stood fifteen minutes into the outage."""
    night = Range(AFTERNOON + NOW - 3600.0, AFTERNOON + NOW)
    values = {"job": "agents", "instance": ".+", "pool": ".+"}
    return page(load(), asker(server.url), night, values, rows)


def photograph(html: Path, png: Path, high: int) -> None:
    """Have Chromium draw the page."""
    command = [need("chromium", "chromium-browser", "google-chrome"), "--headless", "--no-sandbox", "--disable-gpu",
               "--hide-scrollbars", f"--window-size={24 * COLUMN + 18},{high}", f"--screenshot={png}",
               html.as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards.picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=DASHBOARDS / "preview.png")
    parser.add_argument("--rows", type=int, default=35, help="of the dashboard's grid")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "night.om").write_text(play().openmetrics())
        made = run(need("promtool"), "tsdb", "create-blocks-from", "openmetrics", data / "night.om", data / "tsdb")
        assert made.returncode == 0, made.stderr
        server = Prometheus(data, {})
        try:
            (data / "page.html").write_text(draw(server, args.rows))
        finally:
            server.close()
        photograph(data / "page.html", args.out, args.rows * ROW_HEIGHT + HEADER)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
