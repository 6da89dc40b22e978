"""What an edge is described by, and what is refused before a file is written."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving.edge.address import Address
from serving.edge.certificates import Down, Up
from serving.edge.description import Edge, Rate, Retries, Server
from serving.edge.tokens import Tokens


def edge(tmp_path: Path, **changes: Any) -> Edge:
    """Two servers on this machine."""
    servers = tuple(Server(Address("127.0.0.1", port), weight) for port, weight in ((8001, 90), (8003, 10)))
    known = {
        "servers": servers,
        "listen": Address("127.0.0.1", 8000),
        "admin": Address("127.0.0.1", 9901),
        "access_log": tmp_path / "access.jsonl",
    }
    return Edge(**(known | changes))


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1:8001", Server(Address("127.0.0.1", 8001), 1)),
        ("ranker-1.internal:8001=10", Server(Address("ranker-1.internal", 8001), 10)),
        ("[::1]:8001=1000", Server(Address("::1", 8001), 1000)),
    ],
)
def test_a_server_is_an_address_and_maybe_a_weight(text: str, server: Server) -> None:
    assert Server.of(text, "--servers") == server
    assert str(server.address) == text.partition("=")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "--servers 'localhost' is no address; write host:port"),
        ("http://localhost:1", "--servers 'http://localhost:1' is no address"),
        ("127.0.0.1:70000", "--servers '127.0.0.1:70000' is no address"),
        (
            "127.0.0.1:1=0",
            "a weight is a whole number from 1 to 1000; to send a server nothing, use recserve edge drain",
        ),
        ("127.0.0.1:1=1001", "a weight is a whole number from 1 to 1000"),
        ("127.0.0.1:1=half", "a weight is a whole number from 1 to 1000"),
    ],
)
def test_what_is_no_server_is_refused_by_its_text(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        Server.of(text, "--servers")


def test_a_rate_is_of_a_second_or_of_as_many_as_are_said() -> None:
    assert (Rate.of("100", "--rate"), Rate.of("600/60", "--rate")) == (Rate(100, 1), Rate(600, 60))
    for text in ("0", "1.5", "10/0", "10/m", ""):
        with pytest.raises(ValueError, match=f"--rate '{text}' is no rate"):
            Rate.of(text, "--rate")


def test_retries_that_make_no_sense_are_refused() -> None:
    several: list[dict[str, Any]] = [
        {"attempts": -1},
        {"budget_percent": 0.0},
        {"budget_at_least": 0},
        {"try_timeout_s": 0.0},
    ]
    for wrong in several:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Retries(**wrong)


def test_nothing_beyond_this_machine_is_plain_text_unless_it_is_said(tmp_path: Path) -> None:
    far, everywhere = (Server(Address("10.0.0.5", 8001)),), Address("0.0.0.0", 8000)
    with pytest.raises(ValueError, match=r"listen is 0\.0\.0\.0:8000, which other machines reach: add --tls DIR, or"):
        edge(tmp_path, listen=everywhere)
    with pytest.raises(ValueError, match=r"server 10\.0\.0\.5:8001 is on another machine: add --server-tls DIR, or"):
        edge(tmp_path, servers=far)
    with pytest.raises(ValueError, match=r"server 10\.0\.0\.5:8001 is on another machine"):
        edge(tmp_path, releases={"canary": far})
    assert edge(tmp_path, listen=everywhere, servers=far, insecure=True).insecure


def test_the_port_of_administration_is_on_loopback_whatever_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"admin is 0\.0\.0\.0:9901; who reaches it can stop the edge"):
        edge(tmp_path, admin=Address("0.0.0.0", 9901), insecure=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"servers": ()}, "servers: there are none"),
        ({"servers": (Server(Address("127.0.0.1", 1)),) * 2}, "names one twice"),
        ({"servers": tuple(Server(Address(host, 1)) for host in ("127.0.0.1", "localhost"))}, "localhost:1 names one"),
        ({"admin": Address("localhost", 8000)}, r"admin is localhost:8000, where clients ask: listen is 127\.0\.0\.1"),
        ({"listen": Address("0.0.0.0", 9901), "insecure": True}, "admin is 127.0.0.1:9901, where clients ask"),
        ({"listen": Address("127.0.0.1", 8003)}, "server 127.0.0.1:8003 is the edge itself: listen"),
        ({"releases": {"canary": (Server(Address("127.0.0.1", 8000)),)}}, "server 127.0.0.1:8000 is the edge itself"),
        ({"releases": {"Canary!": (Server(Address("127.0.0.1", 1)),)}}, "release 'Canary!'"),
        ({"releases": {"canary": ()}}, "release 'canary' has no servers; write canary=host:port"),
        ({"max_request_bytes": 10}, "max_request_bytes is 10"),
        ({"servers": (Server(Address("no-such-host.invalid", 1)),)}, "the name no-such-host.invalid is not known here"),
    ],
)
def test_what_cannot_be_an_edge_is_refused_with_the_field(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        edge(tmp_path, **changes)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt, and a pair each for server and client, which vouch for themselves."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += [
            "-subj",
            "/CN=recserve",
            "-addext",
            "subjectAltName=DNS:recserve",
            "-keyout",
            f"{folder}/{name}.key",
            "-out",
            f"{folder}/{name}.crt",
        ]
        subprocess.run(words, check=True, capture_output=True)
    (folder / "ca.crt").write_bytes((folder / "server.crt").read_bytes())
    return folder


def copied(certificates: Path, folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes((certificates / name).read_bytes())
        (folder / name).chmod(0o600)
    return folder


def test_clients_need_a_certificate_where_there_is_a_ca(certificates: Path, tmp_path: Path) -> None:
    pair = ("server.crt", "server.key")
    alone = Down(copied(certificates, tmp_path / "alone", *pair)).context()["typed_config"]
    both = Down(copied(certificates, tmp_path / "both", *pair, "ca.crt")).context()["typed_config"]
    assert (alone["require_client_certificate"], both["require_client_certificate"]) == (False, True)
    assert both["common_tls_context"]["validation_context"]["trusted_ca"]["filename"].endswith("both/ca.crt")


def test_a_server_is_held_to_its_own_address(certificates: Path, tmp_path: Path) -> None:
    up = Up(copied(certificates, tmp_path / "up", "ca.crt"))
    context = up.context([Address("127.0.0.1", 1), Address("ranker-1", 1)])["typed_config"]["common_tls_context"]
    names = context["validation_context"]["match_typed_subject_alt_names"]
    assert [(one["san_type"], one["matcher"]["exact"]) for one in names] == [
        ("IP_ADDRESS", "127.0.0.1"),
        ("DNS", "ranker-1"),
    ]
    assert "tls_certificates" not in context


def test_certificates_are_looked_at_before_anything_starts(certificates: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no server\.crt and no server\.key; put it there"):
        Down(copied(certificates, tmp_path / "none", "ca.crt"))
    with pytest.raises(
        ValueError, match=r"the TLS folder .*nope is no directory; name one with server\.crt and server"
    ):
        Down(tmp_path / "nope")
    with pytest.raises(ValueError, match=r"the TLS folder .*nope is no directory; name one with ca\.crt$"):
        Up(tmp_path / "nope")
    with pytest.raises(ValueError, match=r"has no client\.key"):
        Up(copied(certificates, tmp_path / "half", "ca.crt", "client.crt"))
    mixed = copied(certificates, tmp_path / "mixed", "server.crt", "client.key")
    (mixed / "client.key").rename(mixed / "server.key")
    with pytest.raises(ValueError, match=r"server\.key does not fit .*server\.crt"):
        Down(mixed)
    (mixed / "server.key").write_text("no key")
    with pytest.raises(ValueError, match=r"server\.key is no private key in PEM form"):
        Down(mixed)
    (mixed / "ca.crt").write_text("nobody")
    with pytest.raises(ValueError, match=r"ca\.crt is no certificate in PEM form"):
        Down(mixed)


def test_a_certificate_of_no_host_is_refused_as_clients_would(tmp_path: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=recserve", "-keyout", f"{tmp_path}/server.key", "-out", f"{tmp_path}/server.crt"]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(ValueError, match=r"server\.crt is of no host: no client accepts it without a subjectAltName"):
        Down(tmp_path)


@pytest.mark.parametrize(("side", "name"), [(Down, "server"), (Up, "client")])
def test_a_certificate_that_nobody_will_accept_is_refused(
    side: type[Down | Up], name: str, certificates: Path, tmp_path: Path
) -> None:
    folder = copied(certificates, tmp_path / "tls", "ca.crt", f"{name}.crt", f"{name}.key")
    side(folder)
    (folder / f"{name}.key").chmod(0o644)
    with pytest.raises(ValueError, match=rf"{name}\.key can be read by others; chmod 600 it"):
        side(folder)
    request = ["-new", "-key", f"{folder}/{name}.key", "-subj", "/CN=recserve", "-out", f"{folder}/request"]
    subprocess.run(["openssl", "req", *request], check=True, capture_output=True)
    words = ["x509", "-req", "-in", f"{folder}/request", "-signkey", f"{folder}/{name}.key", "-days", "-1"]
    subprocess.run(["openssl", *words, "-out", f"{folder}/{name}.crt"], check=True, capture_output=True)
    (folder / f"{name}.key").chmod(0o600)
    with pytest.raises(ValueError, match=rf"{name}\.crt: certificate has expired; put a valid one there"):
        side(folder)


NO_KEYS = ([], {}, {"keys": []}, {"keys": "RSA"}, {"keys": ["RSA"]}, {"keys": [{"n": "1"}]}, {"keys": None})


def test_keys_of_tokens_are_public_and_whole(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    known: dict[str, Any] = {"keys": keys, "issuer": "https://login", "audience": "recserve"}
    for text, said in (
        (None, r"keys\.json cannot be read: No such file or directory; name a JSON web key set"),
        ("kty: RSA", r"keys\.json is no JSON \(Expecting value: line 1 .*\); name a JSON web key set"),
        *((json.dumps(one), r"keys\.json is no JSON web key set; write \{") for one in NO_KEYS),
    ):
        if text is not None:
            keys.write_text(text)
        with pytest.raises(ValueError, match=said):
            Tokens(**known)
    keys.write_text(json.dumps({"keys": [{"kty": "RSA", "n": "1", "e": "1", "d": "1"}]}))
    with pytest.raises(ValueError, match=r"keys\.json holds a secret \('d'\)"):
        Tokens(**known)
    keys.write_text(json.dumps({"keys": [{"kty": "oct", "k": "1"}]}))
    with pytest.raises(ValueError, match=r"keys\.json holds a secret \('k'\)"):
        Tokens(**known)
    keys.write_text(json.dumps({"keys": [{"kty": "RSA", "n": "1", "e": "1"}]}))
    assert "require_expiration" in Tokens(**known).filter()["providers"]["tokens"]
    with pytest.raises(ValueError, match="need an issuer and an audience"):
        Tokens(keys=keys, issuer="", audience="recserve")
