"""A real Prometheus on loopback: started on a folder, asked over its API, ended by its process id."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from tests.support.servers import free_port

from .tools import DASHBOARDS, need

Series = dict[str, Any]


def until(true: Callable[[], bool], what: str) -> None:
    """Look again until ``true()``."""
    for _ in range(600):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"never came: {what}")


class Prometheus:
    """One server, with the project's rules loaded. ``jobs``: which port of this host each scrapes."""

    def __init__(self, data: Path, jobs: dict[str, int]) -> None:
        self.log = data / "log"
        config = data / "prometheus.yml"
        config.write_text(json.dumps({  # JSON is YAML
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(DASHBOARDS / "rules.yml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{number}"]}]}
                for job, number in jobs.items()
            ],
        }))  # fmt: skip
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager(retries=False)
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [need("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data / 'tsdb'}",
                 "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(self._ready, "Prometheus is ready")

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(self.log.read_text())
        try:
            return self._http.request("GET", f"{self.url}/-/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def close(self) -> None:
        """End it, and the connections to it."""
        self._http.clear()
        self._process.terminate()
        self._process.wait(30)

    def ask(self, path: str, **fields: str | float) -> Any:
        """The data of one API call."""
        reply = self._http.request("GET", f"{self.url}/api/v1/{path}", fields={k: str(v) for k, v in fields.items()})
        answer = json.loads(reply.data)
        if answer["status"] != "success":
            raise ValueError(f"{fields}: {answer.get('error')}")
        return answer["data"]

    def at(self, expr: str, when: float) -> list[Series]:
        """An instant query."""
        return list(self.ask("query", query=expr, time=when)["result"])

    def number(self, expr: str, when: float) -> float:
        """The one value of an instant query."""
        (series,) = self.at(expr, when)
        return float(series["value"][1])

    def over(self, expr: str, start: float, end: float, step: float = 15.0) -> list[Series]:
        """A range query."""
        return list(self.ask("query_range", query=expr, start=start, end=end, step=step)["result"])
