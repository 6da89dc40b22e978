"""What an edge lets through: certificates of both sides, paths, sizes, releases."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from loadtest.served import until
from recserve_client import (
    AsyncClient,
    Client,
    InvalidRequest,
    ServerUnavailable,
    Tls,
    TlsMismatch,
)
from serving.admin import messages
from serving.edge import bootstrap
from serving.edge.address import Address
from serving.edge.certificates import Down
from serving.edge.description import Retries, Server
from tests.client.conftest import Watched, Witness, serving, witness
from tests.production.gate import PASSES, Authority, Place, X, asked, edge, place, tls

pytestmark = [pytest.mark.production, pytest.mark.slow(40)]

__all__ = ["place", "witness"]


async def asked_at_once(url: str, tls: Tls | None) -> None:
    """The same of the other client."""
    async with AsyncClient(url, tls=tls, retries=0) as client:
        await client.infer("scaled", X)


def test_both_sides_are_encrypted_and_both_are_asked_for_certificates(place: Place, tmp_path: Path) -> None:
    clients = Authority()
    down = clients.folder(tmp_path / "down", "server", "client")
    strangers = Authority().folder(tmp_path / "strangers", "client", ca=clients)
    with edge(tmp_path / "edge", place.server, place.certificates, tls=Down(down)) as (_, url):
        with Client(url, tls=tls(down)) as client:
            asked(client)
        for wrong in (tls(down, shown=False), tls(strangers), tls(place.certificates), None):
            with Client(url, tls=wrong, retries=0) as client, pytest.raises(TlsMismatch):
                asked(client)
            with pytest.raises(TlsMismatch):
                asyncio.run(asked_at_once(url, wrong))


@pytest.mark.parametrize(
    ("wrong", "counter"),
    [
        ("no certificate", "upstream_cx_connect_fail"),
        ("another authority", "ssl.fail_verify_error"),
        ("the certificate of another address", "ssl.fail_verify_san"),
    ],
)
def test_a_server_and_an_edge_that_do_not_know_each_other_do_not_talk(
    place: Place, tmp_path: Path, wrong: str, counter: str
) -> None:
    up, server = place.certificates, place.server
    match wrong:
        case "no certificate":
            up = place.authority.folder(tmp_path / "up")
        case "another authority":
            up = place.authority.folder(tmp_path / "up", "client", ca=Authority())
        case _:
            # The server's certificate is of 127.0.0.1, and this name leads there too.
            server = Address("localhost", server.port)
    few = Retries(attempts=2)
    with edge(tmp_path / "edge", server, up, retries=few) as (envoy, url), Client(url, retries=0) as client:
        with pytest.raises(ServerUnavailable, match=r"upstream connect error.*the edge's log why"):
            asked(client)
        assert envoy.admin.counted(f"cluster.servers.{counter}")
        assert envoy.admin.counted("cluster.servers.upstream_rq_200") == 0


REFUSED = {
    "RepositoryIndex": messages.RepositoryIndexRequest(),
    "RepositoryModelLoad": messages.RepositoryModelLoadRequest(model_name="scaled"),
    "RepositoryModelUnload": messages.RepositoryModelUnloadRequest(model_name="scaled"),
    "SystemSharedMemoryStatus": messages.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": messages.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=1),
    "CudaSharedMemoryStatus": messages.CudaSharedMemoryStatusRequest(),
    "TraceSetting": messages.TraceSettingRequest(),
    "LogSettings": messages.LogSettingsRequest(),
}


def test_what_a_client_needs_passes_and_what_an_administrator_does_is_refused(place: Place, tmp_path: Path) -> None:
    with edge(tmp_path / "edge", place.server, place.certificates) as (_, url), grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for name, request in PASSES.items():
            assert getattr(stub, name)(request, timeout=10.0) is not None
        for name, request in REFUSED.items():
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, name)(request, timeout=10.0)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED, name
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.ModelStreamInfer(iter([messages.ModelInferRequest()]), timeout=10.0))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with Client(url) as client:
            asked(client)


def test_a_request_beyond_the_bound_is_refused_and_no_server_sees_it(place: Place, tmp_path: Path) -> None:
    bound = 2**20

    def request(size: int) -> Any:
        """A message of exactly so many bytes."""
        known = messages.ModelInferRequest(model_name="scaled", id="")
        known.raw_input_contents.append(b"")
        for length in range(size - 64, size):
            known.raw_input_contents[0] = bytes(length)
            if known.ByteSize() == size:
                return known
        raise AssertionError(size)

    bounded = {"max_request_bytes": bound}
    with (
        edge(tmp_path / "edge", place.server, place.certificates, **bounded) as (envoy, url),
        grpc.insecure_channel(url, [("grpc.max_send_message_length", -1)]) as channel,
    ):
        ask = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        with pytest.raises(grpc.RpcError) as caught:
            ask(request(bound), timeout=10.0)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, "that is the server's word"
        seen = envoy.admin.counted("cluster.servers.upstream_rq_total")
        with pytest.raises(grpc.RpcError) as caught:
            ask(request(bound + 1), timeout=10.0)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == f"message larger than {bound} bytes, the most that the edge takes"
        assert envoy.admin.counted("cluster.servers.upstream_rq_total") == seen
        with Client(url) as client, pytest.raises(InvalidRequest, match=f"larger than {bound} bytes"):
            client.infer("scaled", {"x": np.zeros((1, bound // 4), np.float32)})


def test_memory_is_bounded_by_taking_no_more_requests(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "HEAP_BYTES", 2**20)
    with edge(tmp_path / "edge", place.server, place.certificates) as (envoy, url), Client(url, retries=0) as client:
        active = "overload.envoy.overload_actions.stop_accepting_requests.active"
        until(lambda: envoy.admin.counted(active), 10.0)
        with pytest.raises(ServerUnavailable, match="overload"):
            asked(client)


def test_a_release_that_is_named_answers_and_an_unknown_one_is_an_error(place: Place, tmp_path: Path) -> None:
    releases = {"releases": {"canary": (Server(place.server),)}}
    with edge(tmp_path / "edge", place.server, place.certificates, **releases) as (envoy, url), Client(url) as client:
        asked(client, headers={"x-release": "canary"})
        assert envoy.admin.counted("cluster.release-canary.upstream_rq_completed") == 1
        said = "no release of the name in x-release; it has canary; name one that it has, or leave the header out"
        with pytest.raises(InvalidRequest, match=said):
            asked(client, headers={"x-release": "cannery"})
        asked(client)
        assert envoy.admin.counted("cluster.servers.upstream_rq_completed") == 1


def test_the_log_and_the_histograms_know_every_request(place: Place, tmp_path: Path) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with edge(tmp_path / "edge", place.server, place.certificates) as (envoy, url), Client(url) as client:
        asked(client, request_id="mine", headers={"traceparent": trace})
        bucket = 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="servers",le="+Inf"} 1'
        until(lambda: bucket in envoy.admin.prometheus(), 30.0)  # it merges histograms every five seconds
    (line,) = map(json.loads, (tmp_path / "edge" / "access.jsonl").read_text().splitlines())
    assert (line["request_id"], line["traceparent"], line["grpc_status"]) == ("mine", trace, "OK")
    assert (line["server"], line["attempts"], line["pool"]) == (str(place.server), 1, "servers")


def test_no_deadline_reaches_a_server(witness: Watched, tmp_path: Path) -> None:
    servicer, server = witness
    servicer.go_on.set()
    with edge(tmp_path / "edge", Address.of(server, ""), None) as (_, url), grpc.insecure_channel(url) as channel:
        ready = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelReady
        assert ready(messages.ModelReadyRequest(name="any"), timeout=20.0).ready
    # gRPC says the end of time, or nothing, where no deadline came along.
    assert all(seconds is None or seconds > 1e6 for seconds in servicer.deadlines)
    assert len(servicer.deadlines) == 1


@pytest.mark.parametrize(("weight", "users"), [(1, 300), (99, 20)])
def test_a_server_that_says_nothing_is_given_up_for_another_by_every_user(
    witness: Watched, place: Place, tmp_path: Path, weight: int, users: int
) -> None:
    """Which servers are tried again follows from the user's hash: a few tries would leave one in 64 with the silent
    one."""
    silent, server = witness
    with serving(Witness()) as (other, url_of_other):
        other.go_on.set()
        servers = (Server(Address.of(server, ""), weight), Server(Address.of(url_of_other, "")))
        patience = {"servers": servers, "retries": Retries(try_timeout_s=0.2)}
        with (
            edge(tmp_path / "edge", place.server, None, **patience) as (_, url),
            grpc.insecure_channel(url) as channel,
        ):
            ready = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelReady
            request = messages.ModelReadyRequest(name="any")
            asked = [ready.future(request, timeout=30.0, metadata=(("x-user-id", str(user)),)) for user in range(users)]
            assert all(one.result().ready for one in asked)
        silent.go_on.set()
    assert len(other.deadlines) == users
    assert silent.deadlines, "some of the users are its own"


def test_a_deadline_holds_at_the_edge(witness: Watched, tmp_path: Path) -> None:
    _, server = witness
    with edge(tmp_path / "edge", Address.of(server, ""), None) as (envoy, url), grpc.insecure_channel(url) as channel:
        ready = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelReady
        with pytest.raises(grpc.RpcError) as caught:
            ready(messages.ModelReadyRequest(name="any"), timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: not envoy.admin.counted("http.edge.downstream_rq_active"), 10.0)


def test_a_connection_that_takes_its_requests_back_is_closed(witness: Watched, tmp_path: Path) -> None:
    _, server = witness
    with edge(tmp_path / "edge", Address.of(server, ""), None) as (envoy, url), grpc.insecure_channel(url) as channel:
        ready = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelReady
        for _ in range(30):
            call = ready.future(messages.ModelReadyRequest(name="any"))
            time.sleep(0.01)
            call.cancel()
        until(lambda: envoy.admin.counted("http.edge.downstream_rq_too_many_premature_resets"), 10.0)
