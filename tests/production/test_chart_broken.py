"""What is wrong in values or manifests of the chart is found."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from recserve.cli import command
from tests.production.helm import EXAMPLES, rendered
from tests.production.manifests import Manifests, named, pod, said, server_words, validate

pytestmark = pytest.mark.production

BROKEN = {
    "misspelt": ({"replica": 3}, "replica"),
    "misspelt within": ({"drain": {"second": 3}}, "second"),
    "text for a number": ({"replicas": "three"}, "replicas"),
    "number too small": ({"drain": {"beforeSeconds": 0}}, "beforeSeconds"),
    "another source": ({"repository": {"source": "git"}}, "source"),
    "volume without a claim": ({"repository": {"source": "volume"}}, "claim"),
    "store without a URL": ({"repository": {"source": "store"}}, "url"),
    "store of another kind": ({"repository": {"source": "store", "store": {"url": "gs://models"}}}, "url"),
    "digest that is none": ({"image": {"digest": "sha256:1234"}}, "digest"),
    "size without a unit": ({"serve": {"shm": "1"}}, "shm"),
    "traces over TLS, which serve does not send": (
        {"traces": {"url": "https://collector:4318/v1/traces"}},
        "traces/url",
    ),
    "a place in the pod that goes nowhere": ({"stores": {"state": "lmdb:///models/state?max_bytes=9"}}, "stores/state"),
    "traces with a password": ({"traces": {"url": "http://a:b@collector:4318/v1/traces"}}, "traces/url"),
    "a policy that the chart's edge has not": ({"edge": {"rate": 100}}, "rate"),
}
STORE = {"source": "store", "store": {"url": "s3://models/shop"}}
EGRESS = [{"ports": [{"port": 4318}]}]
CONTRADICTIONS = {
    "fewest pods beyond the most": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}},
        "autoscaling.minReplicas is 5, more than autoscaling.maxReplicas, 2",
    ),
    "heap beyond the limit": (
        {"edge": {"enabled": True, "heapMegabytes": 8000}},
        "edge.heapMegabytes is 8000, no less",
    ),
    "heap as the limit": ({"edge": {"enabled": True, "heapMegabytes": 1024}}, "edge.heapMegabytes is 1024, no less"),
    "heap beyond a limit of another unit": (
        {"edge": {"enabled": True, "resources": {"limits": {"memory": "800M"}}}},
        "edge.heapMegabytes is 800, no less than edge.resources.limits.memory, 800M",
    ),
    "follows what does not change": (
        {"repository": STORE, "serve": {"follow": True}},
        "serve.follow is of no use with repository.source store",
    ),
    "follows an image": ({"serve": {"follow": True}}, "serve.follow is of no use with repository.source image"),
    "claim of another source": (
        {"repository": {"volume": {"claim": "models"}}},
        "repository.volume.claim is of no use",
    ),
    "URL of another source": ({"repository": {"store": STORE["store"]}}, "repository.store.url is of no use"),
    "certificate of no edge": ({"edge": {"tlsSecret": "pair"}}, "edge.tlsSecret is of no use without edge.enabled"),
    "stores twice": (
        {"stores": {"secret": "urls", "state": "valkey://a:6379/0"}, "network": {"egress": EGRESS}},
        "stores.secret takes the place of stores.state",
    ),
    "stores that nobody asks": (
        {"stores": {"secret": "urls"}, "valkey": {"enabled": True}, "network": {"egress": EGRESS}},
        "valkey.enabled starts stores that nobody would ask",
    ),
    "traces that no rule lets out": (
        {"traces": {"url": "http://collector:4318/v1/traces"}},
        "network.egress has no rule",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_values_that_are_wrong_are_refused_by_name(name: str, folder: Path, tmp_path: Path) -> None:
    values, field = BROKEN[name]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RuntimeError, match=rf"values don't meet the specifications(?s:.*){field}"):
        rendered(folder, tmp_path / "values.yaml")


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused_by_name(name: str, folder: Path, tmp_path: Path) -> None:
    values, text = CONTRADICTIONS[name]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RuntimeError, match=f"execution error.*{re.escape(text)}"):
        rendered(folder, tmp_path / "values.yaml")


def test_values_at_their_bounds_are_taken(folder: Path, tmp_path: Path) -> None:
    values = {
        "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 2},
        "edge": {"enabled": True, "heapMegabytes": 1023},
        "traces": {"url": "http://collector:4318/v1/traces"},
        "network": {"egress": EGRESS},
        "repository": STORE,
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    assert rendered(folder, tmp_path / "values.yaml")


def test_states_in_the_pod_may_have_a_bound_of_their_own(folder: Path, tmp_path: Path) -> None:
    url = "lmdb:///data/state?max_bytes=6023529412"
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"stores": {"state": url}}))
    words = server_words(rendered(folder, tmp_path / "values.yaml"))
    assert said(words, "--state") == url
    command(words)


def test_an_older_kubernetes_is_refused(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"requires kubeVersion: >=1\.30"):
        rendered(folder, EXAMPLES["image"], "--kube-version", "1.29.0")


def _misspelt() -> Iterator[tuple[str, Callable[[Manifests], object]]]:
    def server(manifests: Manifests) -> dict[str, Any]:
        return pod(named(manifests, "Deployment", "servers"))["containers"][0]

    yield "probe", lambda found: server(found)["readinessProbe"].update(failureTreshold=1)
    yield "text for a number", lambda found: server(found)["livenessProbe"].update(periodSeconds="ten")
    yield "security", lambda found: server(found)["securityContext"].update(readOnlyRootFileSystem=True)
    yield "budget", lambda found: named(found, "PodDisruptionBudget", "servers")["spec"].update(maxUnavailible=1)


MISSPELT = dict(_misspelt())


@pytest.mark.parametrize("name", MISSPELT)
def test_a_manifest_that_is_wrong_is_found(name: str, render: Callable[[str], Manifests]) -> None:
    manifests = copy.deepcopy(render("image"))
    MISSPELT[name](manifests)
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(manifests)
