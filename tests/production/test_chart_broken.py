"""What is wrong in values or manifests of the chart is found."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.production.helm import EXAMPLES, rendered
from tests.production.manifests import Manifests, named, pod, validate

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
}


@pytest.mark.parametrize("name", BROKEN)
def test_values_that_are_wrong_are_refused_by_name(name: str, folder: Path, tmp_path: Path) -> None:
    values, field = BROKEN[name]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RuntimeError, match=rf"values don't meet the specifications(?s:.*){field}"):
        rendered(folder, tmp_path / "values.yaml")


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
