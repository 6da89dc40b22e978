"""A server of gRPC alone, for what happens on the wire."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from serving.admin import messages


class Witness(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A gRPC server that sees what a call brings along, and how it ends."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.deadlines: list[float | None] = []
        self.ended: list[bool] = []

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        self.deadlines.append(context.time_remaining())
        self.go_on.wait(30.0)
        # False once the client has cancelled the call, or its connection is gone.
        self.ended.append(context.is_active())
        return messages.ModelReadyResponse(ready=True)


Watched = tuple[Witness, str]


@contextmanager
def serving(servicer: Witness) -> Iterator[Watched]:
    """It and its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    servicer.go_on.set()
    server.stop(None).wait()


@pytest.fixture
def witness() -> Iterator[Watched]:
    """A witness and its address."""
    with serving(Witness()) as one:
        yield one
