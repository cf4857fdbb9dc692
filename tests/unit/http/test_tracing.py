"""OpenTelemetry's own instrumentation of urllib3 sees each request once, and no secret."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from colony_pool.testing import FakeColony

SCRIPT = """
import sys
base_url, first, runtime = sys.argv[1:]
if runtime == "gevent":
    from gevent import monkey
    monkey.patch_all()
if first == "library first":
    import colony_pool
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
hooked = []
URLLib3Instrumentor().instrument(
    tracer_provider=provider, request_hook=lambda span, pool, info: hooked.append((info.body, str(info.headers)))
)
from colony_pool import ColonyPool, ColonyServerError, RetryConfig

quick = RetryConfig(base_delay=0.01, max_retries=1)
with ColonyPool(base_url, token_cache=None, registry=None, retry=quick) as pool:
    agent = pool.agent("col_traced_secret")
    with provider.get_tracer("mine").start_as_current_span("my work") as mine:
        echo = agent.get("/echo").json()
        try:
            agent.get("/status/502")
        except ColonyServerError:
            pass
    jwt = agent.token()
found = [span for span in spans.get_finished_spans() if span.name != "my work"]
told = [
    (span.name, span.attributes["http.url"].removeprefix(base_url), span.attributes["http.status_code"])
    for span in found
]
assert told == [
    ("POST", "/auth/token", 200), ("GET", "/echo", 200), ("GET", "/status/502", 502), ("GET", "/status/502", 502)
], told
assert f"{found[1].context.trace_id:032x}" in echo["headers"]["traceparent"], "the server can go on with the trace"
assert found[1].parent.span_id == mine.get_span_context().span_id
text = "".join(span.to_json() for span in spans.get_finished_spans()) + repr(hooked)
assert "col_traced_secret" not in text and jwt not in text
spans.clear()
URLLib3Instrumentor().uninstrument()
with ColonyPool(base_url, token_cache=None, registry=None) as pool:
    pool.agent("col_traced_secret").token()
assert not spans.get_finished_spans()
print("ok")
"""


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.mark.parametrize("runtime", ["threads", "gevent"])
@pytest.mark.parametrize("first", ["library first", "instrumentation first"])
def test_g23_one_span_a_request_and_no_secret_in_it(colony: FakeColony, first: str, runtime: str) -> None:
    pytest.importorskip("opentelemetry.instrumentation.urllib3")
    command = [sys.executable, "-c", SCRIPT, colony.base_url, first, runtime]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
