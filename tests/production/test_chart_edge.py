"""The chart's edge: what Envoy says of it, and that it is recserve's own edge."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from serving.edge import running
from serving.edge.address import Address
from serving.edge.bootstrap import bootstrap
from serving.edge.description import Edge, Server
from tests.production.helm import RELEASE
from tests.production.manifests import Manifests, envoy, named, pod

pytestmark = pytest.mark.production

OTHERWISE = {
    "node",
    "max_heap_size_bytes",
    # Clients move to other pods of the edge, before they are idle for an hour.
    "common_http_protocol_options",
    "access_log",
    # A pod has its ports to itself.
    "enable_reuse_port",
    # Servers come from DNS, not from a file.
    *("type", "eds_cluster_config", "load_assignment", "dns_lookup_family", "dns_refresh_rate", "respect_dns_ttl"),
}
"""What the two say otherwise, wherever it stands."""


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in OTHERWISE}
    return [without(inner) for inner in value] if isinstance(value, list) else value


def fields_of_log(config: dict[str, Any]) -> dict[str, str]:
    (log,) = config["filter_chains"][0]["filters"][0]["typed_config"]["access_log"]
    return log["typed_config"]["log_format"]["json_format"]


def test_its_policies_are_those_of_recserve_edge(render: Callable[[str], Manifests]) -> None:
    servers = (Server(Address(f"{RELEASE}-servers", 8001)),)
    own = bootstrap(
        Edge(
            servers=servers,
            listen=Address("0.0.0.0", 8000),
            admin=Address("127.0.0.1", 9901),
            access_log=Path("log"),
            insecure=True,
        ),
        Path("folder"),
    )
    chart = envoy(render("volume"))
    ours, its = own["static_resources"], chart["static_resources"]
    its = {kind: {one["name"]: one for one in found} for kind, found in its.items()}
    assert without(its["clusters"]["servers"]) == without(ours["clusters"][0])
    assert without(its["listeners"]["edge"]) == without(ours["listeners"][0])
    assert fields_of_log(its["listeners"]["edge"]) == fields_of_log(ours["listeners"][0])
    rest = {key: value for key, value in own.items() if key != "static_resources"}
    assert {key: without(chart[key]) for key in rest if key not in OTHERWISE} == without(rest)


def test_the_edge_moves_its_clients_before_it_ends(render: Callable[[str], Manifests]) -> None:
    edge = pod(named(render("store"), "Deployment", "edge"))["containers"][0]
    manager = envoy(render("store"))["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    seconds = manager["typed_config"]["common_http_protocol_options"]["max_connection_duration"]
    assert edge["lifecycle"]["preStop"]["sleep"]["seconds"] > int(seconds.removesuffix("s"))


@pytest.mark.parametrize("name", ["volume", "store"])
def test_envoy_takes_the_configuration(name: str, render: Callable[[str], Manifests], tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert(f"{RELEASE}-servers")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    pair.private_key_pem.write_to_path(tmp_path / "tls.key")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    text = named(render(name), "ConfigMap", "edge")["data"]["envoy.yaml"]
    assert ("/servers/tls.key" in text) == ("/clients/tls.key" in text) == (name == "store")
    (tmp_path / "envoy.yaml").write_text(re.sub(r"/(servers|clients)/(?=tls|ca)", f"{tmp_path}/", text))
    running.validate(tmp_path / "envoy.yaml")


def test_the_edge_asks_the_headless_service(render: Callable[[str], Manifests]) -> None:
    manifests = render("volume")
    (cluster,) = [one for one in envoy(manifests)["static_resources"]["clusters"] if one["name"] == "servers"]
    assert cluster["type"] == "STRICT_DNS", "each address of the name is a server"
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    service = named(manifests, "Service", "servers")
    assert endpoint["address"] == service["metadata"]["name"]
    assert endpoint["port_value"] in {one["port"] for one in service["spec"]["ports"]}
    assert service["spec"]["clusterIP"] == "None"
    listeners = {
        one["name"]: one["address"]["socket_address"] for one in envoy(manifests)["static_resources"]["listeners"]
    }
    ports = {
        one["name"]: one["containerPort"]
        for one in pod(named(manifests, "Deployment", "edge"))["containers"][0]["ports"]
    }
    assert ports == {"grpc": listeners["edge"]["port_value"], "operations": listeners["operations"]["port_value"]}


def test_a_service_says_how_its_port_is_encrypted(render: Callable[[str], Manifests]) -> None:
    for name, protocol in (("volume", "kubernetes.io/h2c"), ("store", "https")):
        for part in ("servers", "edge"):
            ports = named(render(name), "Service", part)["spec"]["ports"]
            (grpc,) = [one for one in ports if one["name"] == "grpc"]
            assert grpc["appProtocol"] == protocol, f"{part} of {name}"
