"""Reads pools from metrics endpoints, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import urllib3

from ..prometheus._reader import read
from .exit_codes import MISUSED, Failed
from .pool_sample import PoolSample, Sample, summarize
from .render import Report

EXAMPLE = "http://127.0.0.1:9464/metrics"
_TIMEOUT = 5.0  # seconds for the whole answer
_MAX_PAGE = 32 * 1024 * 1024


class ScrapeError(Exception):
    """An address gave no metrics of a pool; the message says why."""


@dataclass(slots=True)
class Scraper:
    """Reads addresses. Rates are since the reading before, so there are none in the first."""

    addresses: list[str]
    _before: dict[tuple[str, str], Sample] = field(default_factory=dict)
    _http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=_TIMEOUT))

    def read(self) -> Report:
        """Read every address once."""
        pools: list[PoolSample] = []
        samples: dict[tuple[str, str], Sample] = {}
        errors: dict[str, str] = {}
        for address in self.addresses:
            try:
                found = self._scrape(address)
            except ScrapeError as error:
                errors[address] = str(error)
                continue
            for sample in found:
                key = (address, sample.numbers.pool)
                samples[key] = sample
                pools.append(summarize(address, sample, self._before.get(key)))
        self._before = samples
        worst_first = sorted(pools, key=lambda one: (one.state == "closed", one.address, one.pool))
        return Report(
            sections=[pool.as_section() for pool in worst_first],
            facts={"at": time.time(), "pools": [pool.as_dict() for pool in pools], "errors": errors},
            problems=[f"{address}: {why}" for address, why in errors.items()],
            hint="Check that the process is running, and that this is the port of its metrics",
        )

    def _scrape(self, address: str) -> list[Sample]:
        page = self._fetch(address)
        try:
            samples = [Sample(numbers, time.time()) for numbers in read(page.decode("utf-8"))]
        except (ValueError, KeyError, IndexError):  # the parser means well-formed pages
            raise ScrapeError("the answer is not in Prometheus' text format") from None
        if not samples:
            raise ScrapeError("the answer holds no metrics of a ColonyPool")
        return samples

    def _fetch(self, address: str) -> bytes:
        end = time.monotonic() + _TIMEOUT
        try:
            reply = self._http.request("GET", address, redirect=False, preload_content=False)
            try:
                if reply.status != 200:
                    raise ScrapeError(f"HTTP {reply.status}")
                return _body(reply, end)
            finally:
                reply.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ScrapeError(_reason(error)) from None


def _body(reply: urllib3.BaseHTTPResponse, end: float) -> bytes:
    page = bytearray()
    while piece := reply.read1(1 << 16):
        page += piece
        if len(page) > _MAX_PAGE:
            raise ScrapeError(f"the answer is larger than {_MAX_PAGE >> 20} MiB")
        if time.monotonic() > end:
            raise ScrapeError(f"the answer took longer than {_TIMEOUT:g} s")
    return bytes(page)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "the host's name cannot be resolved"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        refused = isinstance(error.__cause__, ConnectionRefusedError)
        return "connection refused" if refused else "no connection"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "TLS failed"
    return "the connection broke off, or it is no HTTP server"


def check_addresses(given: Iterable[str]) -> list[str]:
    """The addresses as they are read; ``Failed`` names the one that is none."""
    return [_address(text) for text in given]


def _address(text: str) -> str:
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urllib3.util.parse_url(address)
    except urllib3.exceptions.LocationParseError:
        raise Failed(MISUSED, "--url: its host or its port cannot be read", hint=f"Use one like {EXAMPLE}") from None
    if parts.auth:  # a command line is read by every user of the host, and so is our output
        raise Failed(MISUSED, f"--url of {parts.host}: must have no user and no password")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise Failed(MISUSED, f"--url {text}: must be an http:// or https:// address", hint=f"Use one like {EXAMPLE}")
    return address if parts.path else f"{address}/metrics"
