"""What the dashboard's README says can be done can be done."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from colony_pool import ColonyPool

from .tools import DASHBOARDS, ROOT, need, run

README = (DASHBOARDS / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
YAML = [text for kind, text in BLOCKS if kind == "yaml"]


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    (config,) = [text for text in YAML if "scrape_configs" in text]
    (tmp_path / "prometheus.yml").write_text(config)
    for name in ("rules.yml", "rules_test.yml"):
        shutil.copy(DASHBOARDS / name, tmp_path / name)
    done = run(need("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stderr
    (tmp_path / "prometheus.yml").write_text(config.replace("scrape_configs", "scrape_config"))
    assert run(need("promtool"), "check", "config", tmp_path / "prometheus.yml").returncode == 1


def test_provisioning_files_have_what_grafana_asks_for() -> None:
    """Their shape only: no Grafana is at hand to read them."""
    files = [yaml.safe_load(text) for text in YAML if "apiVersion" in text]
    assert [set(file) for file in files] == [{"apiVersion", "providers"}, {"apiVersion", "datasources"}]
    assert files[0]["providers"][0]["options"]["path"].startswith("/")
    assert files[1]["datasources"][0]["jsonData"]["timeInterval"] == "15s"


def test_the_files_it_names_are_there() -> None:
    for name in [*re.findall(r"`([\w.]+\.(?:py|json|yml|md|png))`", README), "preview.png"]:
        if name != "prometheus.yml":
            assert (DASHBOARDS / name).exists(), name


def test_the_python_it_shows_exists() -> None:
    (shown,) = [text for kind, text in BLOCKS if kind == "python"]
    assert shown.startswith("pool.start_metrics_server(")
    assert callable(ColonyPool.start_metrics_server)


@pytest.mark.parametrize(
    "command", [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if "python -m" in line]
)
def test_the_modules_and_options_it_names_exist(command: str) -> None:
    words = shlex.split(command)
    file = ROOT / (words[2].replace(".", "/") + ".py")
    assert file.exists()
    for option in [word for word in words if word.startswith("--")]:
        assert f'"{option}"' in file.read_text()
