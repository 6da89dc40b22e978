"""Encrypted channels, with and without a certificate of the client."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from recserve_client import Client, Tls, TlsMismatch
from tests.client.conftest import Witness


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cert.pem, which vouches for itself, key.pem, and another pair."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("", "other-"):
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "2", "-subj", "/CN=recserve", "-addext", "subjectAltName=IP:127.0.0.1"]
        words += ["-keyout", f"{folder}/{name}key.pem", "-out", f"{folder}/{name}cert.pem"]
        subprocess.run(words, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A server that asks for a certificate."""
    server, servicer = grpc.server(ThreadPoolExecutor(2)), Witness()
    servicer.go_on.set()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    key, certificate = (folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_files_and_bytes_open_an_encrypted_channel(url: str, folder: Path) -> None:
    cert, key = folder / "cert.pem", folder / "key.pem"
    for tls in (Tls(cert, str(cert), key), Tls(cert.read_bytes(), cert.read_bytes(), key.read_bytes())):
        with Client(url, tls=tls) as client:
            assert client.model_ready("any")


def test_who_is_not_let_in_is_told_what_to_look_at(url: str, folder: Path) -> None:
    strangers = (
        None,
        Tls(folder / "cert.pem"),
        Tls(folder / "other-cert.pem", folder / "cert.pem", folder / "key.pem"),
        Tls(folder / "cert.pem", folder / "other-cert.pem", folder / "other-key.pem"),
    )
    for tls in strangers:
        with (
            Client(url, tls=tls, retries=0) as client,
            pytest.raises(TlsMismatch, match="does it speak TLS"),
        ):
            client.model_ready("any")


@pytest.mark.parametrize(
    ("tls", "text"),
    [
        (Tls("ca.pem"), "Tls ca='ca.pem' cannot be read: .*No such file"),
        (Tls(b"", b"certificate"), "Tls has a certificate or a key and not both"),
        (Tls(key="key.pem"), "Tls has a certificate or a key and not both"),
    ],
)
def test_files_that_are_missing_are_named_before_anything_is_sent(tls: Tls, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Client("127.0.0.1:1", tls=tls)
