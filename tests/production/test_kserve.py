"""The example for KServe: held to the models of a pinned release of KServe, and to Kubernetes' own schemas."""

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serving.launch import STOP_TIMEOUT_S
from tests.production import kserve
from tests.production.helm import KUBERNETES, ROOT

pytestmark = pytest.mark.production

RUNTIME, SERVICE = (
    yaml.safe_load((ROOT / "deploy" / "kserve" / f"{name}.yaml").read_text()) for name in ("runtime", "service")
)
BROKEN: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], object]]] = {
    "misspelt field": (RUNTIME, lambda one: one["spec"].update(supportedModelFormat=[])),
    "misspelt within": (RUNTIME, lambda one: one["spec"]["supportedModelFormats"][0].update(autoselect=True)),
    "text for a switch": (RUNTIME, lambda one: one["spec"].update(multiModel="no")),
    "no container": (RUNTIME, lambda one: one["spec"].pop("containers")),
    "misspelt predictor": (SERVICE, lambda one: one["spec"]["predictor"].update(minReplica=2)),
    "no format": (SERVICE, lambda one: one["spec"]["predictor"]["model"].pop("modelFormat")),
    "text for a number": (SERVICE, lambda one: one["spec"]["predictor"].update(maxReplicas="8")),
}


def validate(manifest: dict[str, Any]) -> None:
    jsonschema.validate(manifest, kserve.schema((manifest["apiVersion"], manifest["kind"])))


@pytest.mark.parametrize("manifest", [RUNTIME, SERVICE], ids=["runtime", "service"])
def test_it_is_of_kserve(manifest: dict[str, Any]) -> None:
    validate(manifest)


@pytest.mark.parametrize("name", BROKEN)
def test_what_kserve_does_not_know_is_found(name: str) -> None:
    manifest, break_it = BROKEN[name]
    manifest = copy.deepcopy(manifest)
    break_it(manifest)
    with pytest.raises(jsonschema.ValidationError):
        validate(manifest)


def test_its_pods_are_of_kubernetes() -> None:
    spec = {name: RUNTIME["spec"][name] for name in ("containers", "volumes")}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop"}, "spec": spec}
    kubernetes_validate.validate(made, KUBERNETES, strict=True)
    made["spec"]["containers"][0]["readinessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)
    made["spec"]["containers"][0].pop("readinessProbes")


def test_runtime_and_service_fit_each_other_and_the_server() -> None:
    (form,) = RUNTIME["spec"]["supportedModelFormats"]
    model = SERVICE["spec"]["predictor"]["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["modelFormat"] == {name: form[name] for name in ("name", "version")}
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    (container,) = RUNTIME["spec"]["containers"]
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert SERVICE["spec"]["predictor"]["terminationGracePeriodSeconds"] >= sleep + 5 + STOP_TIMEOUT_S
    volumes = {one["name"] for one in RUNTIME["spec"]["volumes"]}
    assert {one["name"] for one in container["volumeMounts"]} == volumes
