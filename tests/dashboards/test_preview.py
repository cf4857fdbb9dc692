"""The page that the project draws by itself: every panel, no script; and Chromium can photograph it."""

from __future__ import annotations

import html
import struct
from pathlib import Path

import pytest

from dashboards.charts import number
from dashboards.preview import main

from .endpoint import AFTERNOON, NOW
from .picture import draw, photograph
from .prom import Prometheus
from .reading import load
from .tools import DASHBOARDS, need


def test_the_page_shows_every_panel(prometheus: Prometheus) -> None:
    text = draw(prometheus, 10_000)
    assert [panel["title"] for panel in load()["panels"] if html.escape(panel["title"]) not in text] == []
    assert "<script" not in text
    assert "nan" not in text
    assert "DOWN: call the endpoint&#x27;s owner" in text
    assert "no Grafana server drew it" in text
    assert "no hold" in text, "a metric that is gone does not stay"


def test_the_command_writes_a_page(prometheus: Prometheus, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["--prometheus", prometheus.url, "--end", str(AFTERNOON + NOW), "--out", str(out)]) == 0
    assert out.read_text().count("<svg") > 25


def test_a_browser_photographs_it(prometheus: Prometheus, tmp_path: Path) -> None:
    need("chromium", "chromium-browser", "google-chrome")
    (tmp_path / "page.html").write_text(draw(prometheus, 35))
    photograph(tmp_path / "page.html", tmp_path / "page.png", 1200)
    assert struct.unpack(">II", (tmp_path / "page.png").read_bytes()[16:24]) == (1410, 1200)


def test_the_checked_in_picture_is_small() -> None:
    assert 50_000 < (DASHBOARDS / "preview.png").stat().st_size < 300_000


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(3661, "dthms", "01:01:01"), (0.599, "percentunit", "60 %"), (0.0251, "s", "25.1 ms"), (150, "s", "2.5 min"),
     (12, "rpm", "12/min"), (4096, "short", "4,096")],
)  # fmt: skip
def test_numbers_are_read_in_their_unit(value: float, unit: str, text: str) -> None:
    assert number(value, {"unit": unit}) == text
