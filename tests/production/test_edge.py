"""Two servers behind an edge while one is killed, stopped, frozen or shifted, and rude clients: nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest import edge
from loadtest.edge import EdgePlan, Site
from loadtest.edged import Edged
from loadtest.pool import Pool
from loadtest.scenario import Scenario
from loadtest.served import alive, children, until
from recserve_client import Client

pytestmark = [pytest.mark.production, pytest.mark.slow(100)]
PLAN = EdgePlan(seconds=3.0, clients=4, minutes=0.15, honest=4, rude=1)


@pytest.fixture(scope="module")
def site(two_releases: Path) -> Iterator[Site]:
    with edge.sited(Scenario("lrea"), two_releases, seed=0) as one:
        yield one


@pytest.mark.parametrize("name", [name for name in edge.EXPERIMENTS if name not in ("shift", "flip")])
def test_nothing_is_lost_and_nothing_is_wrong(site: Site, name: str) -> None:
    found = edge.EXPERIMENTS[name](site, PLAN)
    site.edge.healthy()
    assert found["ok"] == found["requests"] > 0, found
    assert found.get("exit_code", 0) == 0


def test_weights_shift_the_traffic_and_nobody_notices(site: Site) -> None:
    found = edge.shift(site, PLAN)
    assert found["ok"] == found["requests"] > 0, found
    (old, new), even, (_, none), (gone, _) = (found["answers_of_each"][name] for name in edge.SHARES)
    assert old > 3 * new, "a tenth of the users"
    assert min(even) > 0
    assert (none, gone) == (0, 0), "what is drained gets nothing"


def test_a_release_that_is_named_answers_alone(site: Site) -> None:
    found = edge.flip(site, PLAN)
    assert found["ok"] == found["requests"] > 0, found
    wrong, right = found["answers_of_each"][edge.NAMED]
    assert (wrong, right > 0) == (0, True)
    assert min(found["answers_of_each"][edge.NOT_NAMED]) > 0


def test_a_user_stays_on_one_server(site: Site) -> None:
    one_of_each = {one.user: one for one in Pool.load(site.pool).requests}
    placed: dict[int | str | None, set[int | None]] = {}
    with Client(site.edge.url) as client:
        for _ in range(2):
            for user, request in one_of_each.items():
                answer = client.infer(site.scenario.model, request.inputs)
                placed.setdefault(user, set()).add(request.answered_by(answer))
    assert {len(places) for places in placed.values()} == {1}
    assert set.union(*placed.values()) == {0, 1}, "both servers have users"


def test_rude_clients_cost_honest_ones_nothing(site: Site) -> None:
    found = edge.rude(site, PLAN)
    assert found["ok"] == found["requests"] > 0, found
    assert sum(found["rude_calls"].values()) > 0
    assert found["up_at_the_end"]


def envoy(one: Edged) -> int:
    (found,) = (child for child in children(one.process.pid) if "envoy" in Path(f"/proc/{child}/exe").readlink().name)
    return found


def test_an_edge_ends_in_order_and_takes_envoy_with_it(site: Site, tmp_path: Path) -> None:
    with Edged(tmp_path / "edge", site.urls, "--drain-s", 0.2) as one:
        url = one.url
        process = envoy(one)
        with Client(url) as client:
            assert client.server_ready()
        assert one.ends(signal.SIGTERM) == 0, one.said
        assert "draining; stops in 0.2 s" in one.said
        assert one.said.endswith("stopped\n")
        assert not alive(process)
    with Edged(tmp_path / "edge", site.urls) as one:
        _ = one.url
        process = envoy(one)
        one.ends(signal.SIGKILL)
        until(lambda: not alive(process))
    with Edged(tmp_path / "edge", site.urls) as one:
        _ = one.url
        os.kill(envoy(one), signal.SIGKILL)
        assert one.process.wait(60.0) == 1
        assert "error: envoy ended by signal SIGKILL" in one.said


def test_show_says_what_envoy_sees(site: Site) -> None:
    command = [sys.executable, "-m", "recserve", "edge", "show", "--out", str(site.edge.folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["running"]
    assert [(one["release"], one["server"], one["healthy"]) for one in said["servers"]] == [
        ("", site.urls[0], True),
        ("", site.urls[1], True),
        ("canary", site.urls[1], True),
    ]
