"""A tritonserver that asks for a certificate, an Envoy before it, and certificates and tokens for both."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from recserve_client import Client, Tls
from serving import processes, runtime
from serving.admin import messages
from serving.edge import bootstrap
from serving.edge.address import Address
from serving.edge.certificates import Up
from serving.edge.description import Edge, Server
from serving.edge.running import Envoy, free_port, validate
from tests.serving import models

HOST = "127.0.0.1"
X = {"x": np.array([[1.0, -2.0, 0.5]], np.float32)}
"""For the model `scaled`."""
PASSES = {
    "ServerLive": messages.ServerLiveRequest(),
    "ServerReady": messages.ServerReadyRequest(),
    "ServerMetadata": messages.ServerMetadataRequest(),
    "ModelReady": messages.ModelReadyRequest(name="scaled"),
    "ModelMetadata": messages.ModelMetadataRequest(name="scaled"),
    "ModelConfig": messages.ModelConfigRequest(name="scaled"),
    "ModelStatistics": messages.ModelStatisticsRequest(name="scaled"),
}
"""What every client may ask."""
_PATIENCE_S = 60.0


class Authority:
    """Issues folders of certificates."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def folder(self, path: Path, *names: str, ca: "Authority | None" = None, address: str = HOST) -> Path:
        """ca.crt of this authority or another, and a pair for each name."""
        path.mkdir(parents=True)
        (ca or self)._ca.cert_pem.write_to_path(str(path / "ca.crt"))
        for name in names:
            pair = self._ca.issue_cert(address)
            pair.private_key_pem.write_to_path(str(path / f"{name}.key"))
            (path / f"{name}.key").chmod(0o600)
            pair.cert_chain_pems[0].write_to_path(str(path / f"{name}.crt"))
        return path


def tls(folder: Path, *, shown: bool = True) -> Tls:
    """Of a client that trusts the folder's ca.crt, and shows the certificate there or none."""
    return Tls(folder / "ca.crt", folder / "client.crt", folder / "client.key") if shown else Tls(folder / "ca.crt")


@contextmanager
def tritonserver(repository: Path, folder: Path, log: Path) -> Iterator[Address]:
    """One with mutual TLS and nothing restricted, so that what is refused is refused at the edge."""
    port = processes.available_ports([(HOST, 0)])[0]
    command = [
        str(runtime.wheel_root() / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        "--model-config-name=cpu",
        "--disable-auto-complete-config",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--allow-http=0",
        "--allow-metrics=0",
        f"--grpc-address={HOST}",
        f"--grpc-port={port}",
        f"--backend-directory={runtime.backend_directory(runtime.BACKENDS)}",
        "--grpc-use-ssl=1",
        "--grpc-use-ssl-mutual=1",
        f"--grpc-server-cert={folder / 'server.crt'}",
        f"--grpc-server-key={folder / 'server.key'}",
        f"--grpc-root-cert={folder / 'ca.crt'}",
    ]
    environment = runtime.environment("", "", "http://127.0.0.1:1/metrics")
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            with Client(f"{HOST}:{port}", tls=tls(folder), deadline_s=1.0) as client:
                end = time.monotonic() + _PATIENCE_S
                while not client.server_ready():
                    assert process.poll() is None, log.read_text()[-2000:]
                    assert time.monotonic() < end, log.read_text()[-2000:]
                    time.sleep(0.1)
            yield Address(HOST, port)
        finally:
            process.kill()


@contextmanager
def edge(folder: Path, server: Address, up: Path | None, **changes: Any) -> Iterator[tuple[Envoy, str]]:
    """A running Envoy before it and where it listens; `up` are its certificates towards the server."""
    described = Edge(
        **(
            {
                "servers": (Server(server),),
                "listen": Address(HOST, free_port(HOST)),
                "admin": Address(HOST, free_port(HOST)),
                "access_log": folder / "access.jsonl",
                "server_tls": Up(up) if up else None,
            }
            | changes
        )
    )
    path = bootstrap.write(described, folder)
    validate(path)
    with Envoy(path) as envoy:
        envoy.wait()
        end = time.monotonic() + _PATIENCE_S
        # Its own first health check is before the first request.
        while envoy.admin.counted("cluster.servers.health_check.attempt") == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield envoy, str(described.listen)


class Place:
    """The server, and certificates of its authority."""

    def __init__(self, server: Address, authority: Authority, folder: Path) -> None:
        self.server, self.authority, self.certificates = server, authority, folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, authority = tmp_path_factory.mktemp("gate"), Authority()
    models.publish_scaled(folder / "repository")
    certificates = authority.folder(folder / "tls", "server", "client")
    with tritonserver(folder / "repository", certificates, folder / "log") as server:
        yield Place(server, authority, certificates)


def asked(client: Client, **more: Any) -> None:
    """One question, answered right."""
    answer = client.infer("scaled", X, **more)
    np.testing.assert_allclose(answer["y"], 2 * X["x"] + 1)
