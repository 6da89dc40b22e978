"""What a chart renders to, by kind, name and selector."""

from typing import Any

import kubernetes_validate
import yaml

from tests.production.helm import KUBERNETES, RELEASE

Manifests = list[dict[str, Any]]
WORKLOADS = ("Deployment", "StatefulSet")


def validate(manifests: Manifests) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def of_kind(manifests: Manifests, *kinds: str) -> Manifests:
    return [one for one in manifests if one["kind"] in kinds]


def named(manifests: Manifests, kind: str, part: str) -> dict[str, Any]:
    (found,) = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == f"{RELEASE}-{part}"]
    return found


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    return workload["spec"]["template"]["spec"]


def containers(workload: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod(workload).get("initContainers", ()), *pod(workload)["containers"]]


def labels_of(workload: dict[str, Any]) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"]["labels"]


def selected(manifests: Manifests, selector: dict[str, str]) -> Manifests:
    return [one for one in of_kind(manifests, *WORKLOADS) if selector.items() <= labels_of(one).items()]


def server_words(manifests: Manifests) -> list[str]:
    return pod(named(manifests, "Deployment", "servers"))["containers"][0]["args"]


def said(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def envoy(manifests: Manifests) -> dict[str, Any]:
    return yaml.safe_load(named(manifests, "ConfigMap", "edge")["data"]["envoy.yaml"])
