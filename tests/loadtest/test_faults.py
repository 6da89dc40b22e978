"""Faults under load, in their short form: nothing wrong, nothing lost, and roll-outs that nobody notices."""

from pathlib import Path

import pytest

from loadtest import abuse, faults
from loadtest.abuse import AbusePlan
from loadtest.faults import Plan
from loadtest.releases import Releases
from loadtest.scenario import Scenario

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(140)]
RANKER = Scenario("lrea")
PLAN = Plan(rate=40.0, seconds=4.0, overload_rate=150.0, soak_minutes=0.25, swap_every_s=4.0)


def test_a_roll_out_needs_two_releases(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 release\(s\), and a roll-out needs two"):
        Releases(repository, tmp_path / "live")


def test_releases_take_turns(two_releases: Path, tmp_path: Path) -> None:
    releases = Releases(two_releases, tmp_path / "live")
    assert [releases.publish() for _ in range(2)] == [2, 3]
    stamps = [(tmp_path / "live" / "lrea_state" / str(n) / "state.json").read_text() for n in (1, 2, 3)]
    assert stamps[0] == stamps[2] != stamps[1]


@pytest.mark.long
def test_a_new_release_is_taken_over_without_a_failed_request(two_releases: Path) -> None:
    with faults.staged(RANKER, two_releases, PLAN) as stage:
        found = faults.swap(stage, PLAN)
    assert found["ok"] == found["requests"] > 0
    assert found["serves"] == ["1", "2"], "the release before stays loaded, for what is under way"


@pytest.mark.long
@pytest.mark.parametrize("fault", [faults.kill_stub, faults.kill_server])
def test_a_killed_process_gives_clean_errors_loses_no_state_and_comes_back(
    two_releases: Path, fault: faults.Experiment
) -> None:
    with faults.staged(RANKER, two_releases, PLAN) as stage:
        found = fault(stage, PLAN)
    assert found["wrong"] == found["lost_state_writes"] == found["unclean"] == 0
    assert found["ok"] > 0
    assert found["ready"]
    assert found["restarts"] == 1


@pytest.mark.long
def test_nobody_notices_a_drain_who_heeds_readiness_or_retries(two_releases: Path) -> None:
    with faults.staged(RANKER, two_releases, PLAN) as stage:
        found = faults.EXPERIMENTS["drain"](stage, PLAN)
    assert all(one["ok"] == one["requests"] > 0 for one in found["clients"].values())
    assert found["exit_code"] == 0


@pytest.mark.long
def test_abuse_costs_honest_clients_no_wrong_answer_and_the_server_comes_back(two_releases: Path) -> None:
    result = abuse.run(RANKER, two_releases, AbusePlan(minutes=0.2, honest=4, rude=1, kill_every_s=5.0))
    assert abuse.holds(result), result
    assert result["honest"]["ok"] > 0
    assert result["killed_stubs"] > 0
    assert result["restarts"] > 0
    assert sum(result["rude_calls"].values()) > 0


@pytest.mark.long
def test_a_soak_with_roll_outs_answers_everything_right(two_releases: Path) -> None:
    with faults.staged(RANKER, two_releases, PLAN) as stage:
        found = faults.soak(stage, PLAN)
    assert found["ok"] == found["requests"] > 0
    assert found["roll_outs"] >= 1
    files = [sample["shared_memory_files"] for sample in found["samples"]]
    assert max(files[1:]) <= files[1], "each roll-out takes back what the one before it left"
    processes = [sample["processes"] for sample in found["samples"]]
    assert max(processes[1:]) <= processes[1]
