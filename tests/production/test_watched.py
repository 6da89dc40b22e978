"""What a real Prometheus sees of a real server: the counts that were sent, and all that alerts and dashboard name."""

import json
import re
import runpy
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

from export.user_events import add_user_events
from recserve_client import Client
from recserve_client.errors import InvalidRequest
from serving.server import ServerOptions, TritonServer
from serving.traces import Traces
from serving.watch import families, records
from serving.watch.request_log import LogOptions
from tests.production.collector import collector
from tests.production.watched import PROMETHEUS, ROOT, Asking, edge_before, prometheus, settled, until

pytestmark = [pytest.mark.production, pytest.mark.triton_server]
DASHBOARD = ROOT / "deploy" / "grafana"
REQUESTS, INVALID, STRANGERS = 120, 7, 30
ITEMS = np.array([[1, 2, 3, 4, 5, 1_000_000, 2_000_000]])
NAMES = re.compile(r"\b(?:(?:recserve|nv|envoy)_\w+|recserve:\w+(?::\w+)?|up)\b")
LABELS = re.compile(r'"[^"]*"|(?:by|on|group_left|group_right) \([^)]*\)')


class Site(NamedTuple):
    asking: Asking
    server: TritonServer
    log: Path
    exposed: str
    """All metrics of the server, as it says them."""


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    served = folder / "models"
    subprocess.run(["cp", "-r", repository, served], check=True)
    add_user_events(served)
    log = LogOptions(folder=folder / "log", rate=1.0)
    with ExitStack() as stack:
        traces = Traces(url=stack.enter_context(collector()).url, rate=0)
        options = ServerOptions(state=folder / "state", log=folder / "server.log", request_log=log, traces=traces)
        server = stack.enter_context(TritonServer(served, options))
        edge, admin = stack.enter_context(edge_before(server, folder))
        scraped = server.metrics_url.removeprefix("http://").removesuffix("/metrics")
        with prometheus(folder, [scraped], [admin]) as asking:
            until(lambda: asking.values("nv_inference_request_success"))
            before = requests(asking)
            traffic(edge)
            until(lambda: requests(asking) - before == REQUESTS + INVALID)
            settled(
                asking,
                "{__name__=~'recserve_(score_count|score_bin_total|score_bucket|request_log_.*|refusals_total)'}",
            )
            until(lambda: asking.values("recserve:requests:rate5m{model='lrea'} > 0"))
            exposed = urllib.request.urlopen(server.metrics_url, timeout=30).read().decode()
            yield Site(asking, server, log.folder, exposed)


def requests(asking: Asking) -> float:
    """Of which tritonserver 2.51 counts those as successful too that a Python backend refuses."""
    return asking.values("nv_inference_request_success{model='lrea'}").get(("lrea", "1"), 0)


def traffic(edge: str) -> None:
    """Of users who are known and asked for twice, then of strangers, and wrong requests."""
    with Client(edge, deadline_s=30.0) as client:
        for number in range(REQUESTS):
            user = 10**9 + number if number < STRANGERS else number % 15 + 1
            client.infer("lrea", {"user_id": [[user]], "candidates": ITEMS})
        for _ in range(INVALID):
            with pytest.raises(InvalidRequest):
                client.infer("lrea", {"user_id": [[1]], "candidates": [[-1]]})


def counted(site: Site, family: families.Family, **labels: str) -> float:
    """Of the one series with these labels, beyond what golden requests and starts count."""
    chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return sum(site.asking.values(f"{family.name}{{{chosen}}}").values())


def test_prometheus_counts_what_was_sent(site: Site) -> None:
    # A start asks three golden requests, of 5 users and items that nobody sent here.
    assert counted(site, families.REFUSALS, model="lrea", reason="invalid") == INVALID
    assert counted(site, families.REFUSALS, model="lrea", reason="internal") == 0
    goldens = counted(site, families.ASKED_USERS, model="lrea_state") - REQUESTS
    assert 0 < goldens <= 6
    assert counted(site, families.UNKNOWN_USERS, model="lrea_state") >= STRANGERS
    assert counted(site, families.UNKNOWN_USERS, model="lrea_state") <= STRANGERS + goldens
    reads = site.asking.values(f"sum by (outcome) ({families.STATE_READS.name})")
    assert reads["no_history",] >= STRANGERS
    assert reads["hit",] >= REQUESTS - STRANGERS - 15
    assert sum(reads.values()) == REQUESTS + goldens


def test_each_score_is_in_one_bin_and_in_all_buckets_above_it(site: Site) -> None:
    of = {"model": "lrea", "version": "1"}
    scores = counted(site, families.SCORE_COUNT, **of)
    logged = [records.read(one) for one in records.places(site.log, "lrea")]
    assert len(logged) == REQUESTS == counted(site, families.LOG_RECORDS, model="lrea", outcome="written")
    bins = [counted(site, families.SCORE_BIN, **of, bin=f"{place:02d}") for place in range(10)]
    assert sum(bins) == scores
    buckets = site.asking.values(f"{families.SCORE_BUCKET.name}{{model='lrea'}}")
    ordered = sorted((float(le), count) for (le, _, _), count in buckets.items())
    assert [count for _, count in ordered] == np.cumsum(bins).tolist()
    answered = np.concatenate([one.outputs["scores"].ravel() for one in logged])
    edges = [edge for edge, _ in ordered][:-1]
    own = np.bincount(np.searchsorted(edges, answered), minlength=10)
    # The golden requests of the start are counted and not logged.
    assert (np.array(bins) >= own).all()
    assert 0 < scores - answered.size <= 3 * 200
    assert counted(site, families.SCORE_NOT_FINITE, **of) == 0


def test_every_family_of_ours_is_there_under_the_labels_that_are_said_and_no_other(site: Site) -> None:
    lines = [line for line in site.exposed.splitlines() if line.startswith("recserve_")]
    found = {line.partition("{")[0].partition(" ")[0] for line in lines}
    assert found == {family.name for family in families.FAMILIES}
    for family in families.FAMILIES:
        series = [line for line in lines if re.match(rf"{family.name}[{{ ]", line)]
        assert {tuple(sorted(re.findall(r'[{,](\w+)="', line))) for line in series} == {tuple(sorted(family.labels))}
        assert f"# TYPE {family.name} {family.kind}" in site.exposed
    assert '"1000000' not in "".join(lines), "an id is a label"


def test_the_release_says_what_it_is_of(site: Site) -> None:
    found = site.asking.values("recserve_release_info{model='lrea'}")
    assert found == {("planted-clicks", "lrea", "tests.conftest:lrea", "lrea", "1"): 1}


def test_all_that_rules_and_dashboard_ask_for_is_there(site: Site) -> None:
    asked = {name for one in expressions() for name in NAMES.findall(LABELS.sub("", one))}
    assert len(asked) > 20
    with suppress(TimeoutError):
        until(lambda: asked <= site.asking.families())
    assert asked - site.asking.families() == set()


def test_every_expression_of_the_dashboard_is_answered(site: Site) -> None:
    for one in drawn()["expressions"]():
        site.asking.get("query", query=one)
        assert site.asking.get("query", query=f"count({one}) or vector(0)")["result"]


def test_quantiles_and_drift_of_the_scores_are_recorded(site: Site) -> None:
    until(lambda: len(site.asking.values("recserve:score_quantile:1h{model='lrea'}")) == 2)
    logged = [records.read(one) for one in records.places(site.log, "lrea")]
    answered = np.concatenate([one.outputs["scores"].ravel() for one in logged])
    edges = sorted(float(le) for le, *_ in site.asking.values("recserve_score_bucket{model='lrea'}"))[:-1]

    def apart() -> int:
        (median,) = site.asking.values("recserve:score_quantile:1h{model='lrea', quantile='0.5'}").values()
        return abs(int(np.searchsorted(edges, median)) - int(np.searchsorted(edges, np.median(answered))))

    # Golden requests of the start are counted too, and the inside of a bin is not known.
    assert until(lambda: apart() <= 1)
    psi = site.asking.values("recserve:score_psi:1h{model='lrea'}")
    assert [*psi] == [("lrea", "example", "1")]
    assert all(value >= 0 for value in psi.values())


def test_the_server_s_log_names_no_user(site: Site) -> None:
    text = site.server.log.read_text()
    assert not re.search(r"\b10000000\d\d\b", text)


def test_the_committed_configuration_and_rules_pass_promtool() -> None:
    for what, file in (("check config", "prometheus.yml"), ("check rules", "rules.yml"), ("test rules", "tests.yml")):
        command = ["promtool", *what.split(), PROMETHEUS / file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire_and_says_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    tested = yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tested for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in alerts}
    assert all({"summary", "do"} == {*rule["annotations"]} for rule in alerts)
    assert {rule["labels"]["severity"] for rule in alerts} == {"page", "ticket"}


def test_the_dashboard_is_the_drawn_one() -> None:
    text = (DASHBOARD / "recserve.json").read_text()
    assert text == drawn()["drawn"](), "draw it anew with python deploy/grafana/draw_dashboard.py"
    panels = json.loads(text)["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    asked = [target["expr"] for one in panels for target in one.get("targets", [])]
    assert sorted(asked) == sorted(drawn()["expressions"]())


def test_a_name_that_no_server_has_would_be_found() -> None:
    assert NAMES.findall("sum(rate(recserve_misspelt_total[5m])) / recserve:what:ratio1h") == [
        "recserve_misspelt_total",
        "recserve:what:ratio1h",
    ]


def drawn() -> dict:
    return runpy.run_path(str(DASHBOARD / "draw_dashboard.py"))


def rules() -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *drawn()["expressions"]()]
