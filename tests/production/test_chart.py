"""The chart: what Helm and Kubernetes' own schemas say of it, and whether its numbers and names fit each other.

There is no cluster: nothing here says that a pod starts.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.launch import STOP_TIMEOUT_S
from tests.production.helm import CHART, EXAMPLES, KUBERNETES, ROOT, run
from tests.production.manifests import (
    WORKLOADS,
    Manifests,
    containers,
    named,
    of_kind,
    pod,
    said,
    selected,
    server_words,
    validate,
)

pytestmark = pytest.mark.production


def test_there_is_an_example_of_each_source_of_a_repository() -> None:
    values = [yaml.safe_load(path.read_text()) for path in EXAMPLES.values()]
    assert {one.get("repository", {}).get("source", "image") for one in values} == {"image", "volume", "store"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_helm_finds_nothing_to_say(name: str, folder: Path) -> None:
    done = run(folder, "lint", "--strict", CHART, "--values", EXAMPLES[name], "--kube-version", KUBERNETES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_manifest_is_one_that_kubernetes_knows(manifests: Manifests) -> None:
    validate(manifests)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)


def test_a_pod_may_end_in_the_time_that_it_takes(manifests: Manifests) -> None:
    servers = pod(named(manifests, "Deployment", "servers"))
    sleep = servers["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(said(server_words(manifests), "--drain-s"))
    assert servers["terminationGracePeriodSeconds"] >= sleep + drain + STOP_TIMEOUT_S
    for workload in of_kind(manifests, "Deployment"):
        spec = pod(workload)
        sleeps = [one["lifecycle"]["preStop"]["sleep"]["seconds"] for one in spec["containers"]]
        assert sleeps
        assert spec["terminationGracePeriodSeconds"] > max(sleeps)
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_probes_ask_what_they_are_for(manifests: Manifests) -> None:
    server = pod(named(manifests, "Deployment", "servers"))["containers"][0]
    startup, ready, alive = (server[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    assert startup["httpGet"] == ready["httpGet"] == {"path": "/ready", "port": "ready"}
    assert alive["httpGet"] == {"path": "/metrics", "port": "metrics"}, "a long load must not kill the pod"
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert alive["periodSeconds"] * alive["failureThreshold"] >= 180
    ports = {one["name"]: one["containerPort"] for one in server["ports"]}
    words = server_words(manifests)
    assert ports == {name: int(said(words, f"--{name}-port")) for name in ("grpc", "metrics", "ready")}


def test_no_container_is_root_or_may_write_outside_its_volumes(manifests: Manifests) -> None:
    for workload in of_kind(manifests, *WORKLOADS):
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in containers(workload):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert one["resources"]["limits"]["memory"]
            assert re.search(r":[^/]+$", one["image"]), "an image without a tag is another one tomorrow"


def test_the_server_has_its_shared_memory_and_places_to_write(manifests: Manifests) -> None:
    spec = pod(named(manifests, "Deployment", "servers"))
    volumes = {one["name"]: one for one in spec["volumes"]}
    places = [
        {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
        for container in [*spec.get("initContainers", ()), *spec["containers"]]
    ]
    assert all(mounted["/tmp"]["emptyDir"] == {} for mounted in places)
    mounted = places[-1]
    assert mounted["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    environment = {one["name"]: one.get("value", "") for one in spec["containers"][0]["env"]}
    assert any(environment["RECSERVE_CACHE"].startswith(f"{path}/") for path in mounted)
    for option in ("--state", "--histories"):
        url = said(server_words(manifests), option)
        if url.startswith("lmdb://"):
            assert any(url.removeprefix("lmdb://").startswith(f"{path}/") for path in mounted)


def test_what_selects_pods_selects_those_of_one_workload(manifests: Manifests) -> None:
    selectors = [one["spec"]["selector"] for one in of_kind(manifests, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(manifests, "PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(manifests, "NetworkPolicy")]
    for workload in of_kind(manifests, *WORKLOADS):
        selectors.append(workload["spec"]["selector"]["matchLabels"])
        selectors += [one["labelSelector"]["matchLabels"] for one in pod(workload)["topologySpreadConstraints"]]
    assert [len(selected(manifests, one)) for one in selectors] == [1] * len(selectors)
    guarded = [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(manifests, "NetworkPolicy")]
    assert len(guarded) == len(of_kind(manifests, *WORKLOADS)), "a part without a policy is open to all"


def test_a_port_that_is_named_is_a_port_of_those_pods(manifests: Manifests) -> None:
    def ports(workload: dict[str, Any]) -> set[str]:
        return {port["name"] for one in pod(workload)["containers"] for port in one["ports"]}

    for service in of_kind(manifests, "Service"):
        (workload,) = selected(manifests, service["spec"]["selector"])
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= ports(workload)
    for policy in of_kind(manifests, "NetworkPolicy"):
        (workload,) = selected(manifests, policy["spec"]["podSelector"]["matchLabels"])
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= ports(workload)
    for workload in of_kind(manifests, *WORKLOADS):
        for container in pod(workload)["containers"]:
            probes = [container[name] for name in container if name.endswith("Probe")]
            asked = {one.get("httpGet", one.get("tcpSocket", {})).get("port") for one in probes} - {None}
            assert asked <= ports(workload)


def test_the_autoscaler_owns_the_number_of_pods(manifests: Manifests) -> None:
    servers = named(manifests, "Deployment", "servers")
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    assert ("replicas" in servers["spec"]) == (not scalers)
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (servers["kind"], servers["metadata"]["name"])
        assert scaler["spec"]["metrics"][0]["resource"]["name"] == "cpu"


def test_queue_time_scales_beside_cpu_where_it_is_wanted(render: Callable[[str], Manifests]) -> None:
    metrics = named(render("store"), "HorizontalPodAutoscaler", "servers")["spec"]["metrics"]
    assert metrics[1]["pods"]["metric"]["name"] == "recserve_queue_seconds_per_request"
    assert metrics[1]["pods"]["target"] == {"type": "AverageValue", "averageValue": "5m"}
    assert len(named(render("volume"), "HorizontalPodAutoscaler", "servers")["spec"]["metrics"]) == 1


def test_the_rule_of_the_adapter_is_a_query_and_gives_that_metric(
    render: Callable[[str], Manifests], tmp_path: Path
) -> None:
    (rule,) = yaml.safe_load((ROOT / "deploy" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    metric = named(render("store"), "HorizontalPodAutoscaler", "servers")["spec"]["metrics"][1]["pods"]["metric"]
    assert rule["name"]["as"] == metric["name"]
    query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'pod="a"').replace("<<.GroupBy>>", "pod")
    recorded = {"groups": [{"name": "adapter", "rules": [{"record": "asked", "expr": query}]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(recorded))
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"
    subprocess.run([promtool, "check", "rules", tmp_path / "rules.yaml"], check=True)


def test_stores_are_those_of_the_chart_and_keep_what_must_be_kept(render: Callable[[str], Manifests]) -> None:
    manifests = render("store")
    for option, part, policy, kept in (
        ("--state", "states", "allkeys-lru", "no"),
        ("--histories", "histories", "noeviction", "yes"),
    ):
        assert (
            said(server_words(manifests), option)
            == f"valkey://{named(manifests, 'Service', part)['metadata']['name']}:6379/0"
        )
        workload = named(manifests, "StatefulSet", part)
        words = pod(workload)["containers"][0]["args"]
        assert said(words, "--maxmemory-policy") == policy
        assert said(words, "--appendonly") == kept
        assert ("volumeClaimTemplates" in workload["spec"]) == (kept == "yes")
        (policy_of,) = [one for one in of_kind(manifests, "NetworkPolicy") if one["metadata"]["name"].endswith(part)]
        assert "egress" not in policy_of["spec"], "it asks nobody"
