"""What Prometheus makes of the chart's pods: each is scraped once, under the name of a job that the alerts ask for."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.production.helm import NAMESPACE, ROOT
from tests.production.manifests import WORKLOADS, Manifests, labels_of, of_kind, pod

pytestmark = pytest.mark.production

FOLDER = ROOT / "deploy" / "prometheus"
CONFIGS = ("prometheus.yml", "kubernetes.yml")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return {one["job_name"]: one for one in read(name)["scrape_configs"]}


def asked() -> set[str]:
    """Names of jobs in what the rules and the dashboard ask."""
    texts = [(FOLDER / "rules.yml").read_text(), (ROOT / "deploy" / "grafana" / "recserve.json").read_text()]
    return {found for text in texts for found in re.findall(r'job=~?\\?"([^"\\]+)', text)}


def targets(manifests: Manifests) -> Iterator[dict[str, str]]:
    """The labels that discovery gives each port of each pod."""
    for workload in of_kind(manifests, *WORKLOADS):
        own = {re.sub(r"\W", "_", key): value for key, value in labels_of(workload).items()}
        for container in pod(workload)["containers"]:
            for port in container["ports"]:
                yield {
                    "__meta_kubernetes_namespace": NAMESPACE,
                    "__meta_kubernetes_pod_name": workload["metadata"]["name"],
                    "__meta_kubernetes_pod_container_port_name": port["name"],
                    **{f"__meta_kubernetes_pod_label_{key}": value for key, value in own.items()},
                }


def relabelled(target: dict[str, str], rules: list[dict[str, Any]]) -> dict[str, str] | None:
    """As Prometheus does it; None for a target that is dropped."""
    for rule in rules:
        value = ";".join(target.get(name, "") for name in rule["source_labels"])
        if rule.get("action") == "keep":
            if not re.fullmatch(rule["regex"], value):
                return None
        else:
            target = target | {rule["target_label"]: value}
    return target


@pytest.mark.parametrize("name", CONFIGS)
def test_every_job_that_an_alert_asks_for_is_scraped(name: str) -> None:
    assert asked() == {"recserve", "edge"} == jobs(name).keys()
    assert read(name)["rule_files"] == ["rules.yml"]


def test_each_pod_is_scraped_once_under_its_job(render: Callable[[str], Manifests]) -> None:
    found = {
        (job, kept["pod"], kept["namespace"], kept["__meta_kubernetes_pod_container_port_name"])
        for job, config in jobs("kubernetes.yml").items()
        for target in targets(render("store"))
        if (kept := relabelled(target, config["relabel_configs"]))
    }
    assert found == {("recserve", "shop-servers", NAMESPACE, "metrics"), ("edge", "shop-edge", NAMESPACE, "operations")}
    for workload in of_kind(render("store"), *WORKLOADS):
        said = workload["spec"]["template"]["metadata"].get("annotations", {})
        assert not [key for key in said if key.startswith("prometheus.io")], "another job would count it twice"


def test_paths_are_those_of_the_other_configuration() -> None:
    mine, other = jobs("kubernetes.yml"), jobs("prometheus.yml")
    assert {job: one.get("metrics_path") for job, one in mine.items()} == {
        job: one.get("metrics_path") for job, one in other.items()
    }


def test_promtool_takes_the_rest_of_the_configuration(tmp_path: Path) -> None:
    """Debian's promtool is built without what finds pods: other targets stand for them."""
    config = read("kubernetes.yml")
    for one in config["scrape_configs"]:
        assert one.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        one["static_configs"] = [{"targets": ["127.0.0.1:1"]}]
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config))
    command = ["promtool", "check", "config", tmp_path / "kubernetes.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
