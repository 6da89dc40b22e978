"""A trace from the client to the model and the steps inside `fused`, counts of those steps, and a collector that is
slow or away."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loadtest.served import until
from recserve_client import InvalidRequest
from serving import golden
from serving.server import ServerOptions, TritonServer
from serving.spans import MOST, Context, Span, SpanSender
from serving.traces import Traces
from serving.versions import latest_version
from tests.production.collector import Collector, collector
from tests.production.metrics import read

pytestmark = [pytest.mark.production, pytest.mark.slow(30)]
STEPS = ("lrea_scorer", "lrea_state")
CALLER = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as one:
        yield one


@pytest.fixture(scope="module")
def server(repository: Path, receiver: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("traces")
    options = ServerOptions(state=folder / "state", log=folder / "log", traces=Traces(url=receiver.url, rate=0))
    with TritonServer(repository, options) as one:
        yield one


class Asked:
    """Golden requests, of which each answer is compared."""

    def __init__(self, server: TritonServer) -> None:
        self.goldens = golden.read(latest_version(server.repository / "lrea") / "golden.safetensors")
        self.client = server.client(30.0)

    def __call__(self, number: int, *headers: dict[str, str]) -> None:
        for place in range(number):
            one = self.goldens[place % len(self.goldens)]
            given = headers[place % len(headers)] if headers else {}
            answer = self.client.infer("lrea", one.inputs, headers=given)
            assert golden.compare(one.outputs, answer, 1e-5).ok


@pytest.fixture(scope="module")
def ask(server: TritonServer) -> Iterator[Asked]:
    asked = Asked(server)
    yield asked
    asked.client.close()


def traced(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-{flags}"}


def test_one_trace_goes_from_the_client_to_each_step(ask: Asked, receiver: Collector) -> None:
    trace_id = os.urandom(16).hex()
    ask(1, traced(trace_id))
    until(lambda: {span["name"] for span in receiver.of(trace_id).values()} >= {*STEPS, "lrea"})
    spans = receiver.of(trace_id)
    ways = {}
    for span in spans.values():
        way = [span["name"]]
        while (above := span["parentSpanId"]) in spans:
            span = spans[above]
            way.append(span["name"])
        assert above == CALLER, "the client's span is above all"
        ways[way[0]] = way[::-1]
    for step in STEPS:
        assert ways[step] == ["lrea", step]
        (own,) = (span for span in spans.values() if span["name"] == step)
        around = spans[own["parentSpanId"]]
        times = [span[f"{end}TimeUnixNano"] for span, end in ((around, "start"), (own, "start"), (own, "end"))]
        assert [*map(int, times)] == sorted(map(int, times))


def test_who_is_not_sampled_gets_no_span_at_rate_0(ask: Asked, receiver: Collector, server: TritonServer) -> None:
    until(lambda: read(server.metrics_url, "recserve_spans_total") == len(receiver.spans))
    own, trace_id = len(receiver.spans), os.urandom(16).hex()
    before = read(server.metrics_url, "recserve_spans_total")
    ask(10)
    ask(1, traced(trace_id))
    ask(1, traced(os.urandom(16).hex(), flags="00"))
    until(lambda: len(receiver.of(trace_id)) == 3)
    until(lambda: read(server.metrics_url, "recserve_spans_total") >= before + 3)
    assert {span["traceId"] for span in receiver.spans[own:]} == {trace_id}
    assert read(server.metrics_url, "recserve_spans_total", outcome="sent") == before + 3


def test_a_graph_and_a_refusal_have_spans_too(ask: Asked, receiver: Collector, server: TritonServer) -> None:
    (one, *_) = golden.read(latest_version(server.repository / "lrea_encoder") / "golden.safetensors")
    trace_id, refused = os.urandom(16).hex(), os.urandom(16).hex()
    ask.client.infer("lrea_encoder", one.inputs, headers=traced(trace_id))
    with pytest.raises(InvalidRequest):
        ask.client.infer("lrea", {"user_id": [[1]], "candidates": [[-1]]}, headers=traced(refused))
    until(lambda: receiver.of(trace_id) and any(span["name"] == "lrea" for span in receiver.of(refused).values()))
    (span,) = receiver.of(trace_id).values()
    assert (span["name"], span["parentSpanId"], span["status"]) == ("lrea_encoder", CALLER, {})
    (span,) = (span for span in receiver.of(refused).values() if span["name"] == "lrea")
    assert span["status"]["code"] == 2
    assert "candidates" in span["status"]["message"]


def test_steps_are_counted_and_latencies_summed_up(ask: Asked, server: TritonServer) -> None:
    url = server.metrics_url
    families = [f"recserve_step_{name}_total" for name in ("requests", "runs", "seconds", "refusals")]
    before = {(name, step): read(url, name, model="lrea", step=step) for name in families for step in STEPS}
    ask(20)
    until(lambda: read(url, families[0], model="lrea", step=STEPS[0]) >= before[families[0], STEPS[0]] + 20)
    grown = {key: read(url, key[0], model="lrea", step=key[1]) - value for key, value in before.items()}
    for step in STEPS:
        assert grown[families[0], step] == grown[families[1], step] == 20, "one client: a batch of one each"
        assert grown[families[2], step] > 0
        assert grown[families[3], step] == 0
    assert read(url, "nv_inference_request_summary_us_count", model="lrea") >= 20
    assert np.isfinite(read(url, "nv_inference_request_summary_us", model="lrea", quantile="0.99"))


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
def test_a_collector_that_fails_costs_spans_and_no_request(
    ask: Asked, server: TritonServer, receiver: Collector, fault: str
) -> None:
    url = server.metrics_url
    before = read(url, "recserve_spans_total", outcome="failed")
    if fault == "hangs":
        receiver.hang.set()
    else:
        receiver.status = 503
    ask(40, *(traced(os.urandom(16).hex()) for _ in range(40)))
    until(lambda: read(url, "recserve_spans_total", outcome="failed") > before)
    receiver.status = 200
    receiver.hang.clear()
    trace_id = os.urandom(16).hex()
    ask(1, traced(trace_id))
    until(lambda: len({span["name"] for span in receiver.of(trace_id).values()} & {*STEPS}) == 2)


def test_what_finds_no_room_to_wait_is_dropped_and_counted() -> None:
    counted = Counter[str]()
    with collector() as receiver:
        receiver.hang.set()
        sender = SpanSender(receiver.url, lambda outcome, number: counted.update({outcome: number}))
        span = Span(Context("0" * 31 + "1", "0" * 15 + "1"), "0" * 15 + "2", "scorer", 1, 2, 1)
        for _ in range(2 * MOST):
            sender.send(span)
        assert 0 < counted["dropped"] <= MOST, "none waited for the collector"
        receiver.hang.clear()
        until(lambda: counted.total() == 2 * MOST)
        sender.close()
        assert len(receiver.spans) >= counted["sent"] > 0
