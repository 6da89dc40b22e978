"""Events that arrive while things go wrong: how answers are judged, and the experiments in their short form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.live import faults
from loadtest.live.faults import Plan
from loadtest.live.scripts import Play, Recomputation, Script, Size
from loadtest.live.soak import SoakPlan, soak
from loadtest.live.traffic import FRESH, OLDER, WRONG, Journal
from serving.events.pushing import Row
from serving.histories.keys import Whose
from training.data.planted_clicks import planted_clicks

PLAN = Plan(users=10, events=3, event_rate=15.0, rate=40.0)


def script(*after: float, versions: int = 1) -> Script:
    """Two scores after each number of events; those of a second version are apart from all of the first's."""
    rows = tuple(Row("1", "7", 1.0, place, 0, str(place)) for place in range(len(after) - 1))
    scores = np.array([[[one + 10 * version] * 2 for one in after] for version in range(versions)], np.float32)
    return Script(user=1, request={}, before=None, rows=rows, expected=scores)


def test_an_answer_is_judged_by_what_was_known_when_it_was_asked() -> None:
    journal = Journal([script(0.1, 0.2, 0.3)])
    journal.sent[0] = 2

    def judged(before: int, score: float) -> str:
        return journal.judge(0, before, np.full(2, score, np.float32))

    assert [judged(0, one) for one in (0.1, 0.2, 0.3)] == [FRESH] * 3
    assert journal.known == [2], "an answer that knew an event says that it is known"
    assert [judged(2, one) for one in (0.3, 0.2, 0.1)] == [FRESH, OLDER, OLDER]
    assert judged(0, 0.25) == WRONG
    assert judged(0, np.nan) == WRONG


def test_an_answer_that_knows_what_was_not_sent_is_wrong() -> None:
    journal = Journal([script(0.1, 0.2, 0.3)])
    journal.sent[0] = 1
    assert journal.judge(0, 0, np.full(2, 0.3, np.float32)) == WRONG


def test_an_answer_may_be_any_version_s_and_no_mixture_of_two() -> None:
    journal = Journal([script(0.1, 0.2, versions=2)])
    journal.sent[0] = 1
    assert journal.judge(0, 1, np.array([10.2, 10.2], np.float32)) == FRESH
    assert journal.judge(0, 0, np.array([0.2, 10.2], np.float32)) == WRONG


def test_events_that_change_nothing_are_not_told_apart() -> None:
    assert script(0.1, 0.1, 0.2).told_apart == 0.5
    journal = Journal([script(0.1, 0.1, 0.2)])
    journal.sent[0] = 2
    assert journal.judge(0, 0, np.full(2, 0.1, np.float32)) == FRESH
    assert journal.known == [0], "it may be the answer of before"


def test_what_a_store_lacks_or_has_twice_is_counted(two_releases: Path, tmp_path: Path) -> None:
    play = Play(two_releases, "lrea", tmp_path / "play", Size(users=10, events=2))
    assert len(play.scripts) == 10
    assert all(one.told_apart == 1.0 for one in play.scripts)
    assert sum(not play.interactions.dense("user", one.user) for one in play.scripts) == 1, "one is a stranger"
    store = Recomputation(two_releases, "lrea", planted_clicks(), tmp_path / "other", play.most)
    assert play.faults(store.histories) == {"lost": 20, "double": 0, "unlike": 10}
    for one in play.scripts:
        for row in one.rows:
            store.append(Whose(play.dataset, one.user), row, int(row.item))
    assert play.faults(store.histories) == {"lost": 0, "double": 0, "unlike": 0}
    one = play.scripts[0]
    again = one.rows[0]._replace(event_id="the same under another name")
    store.append(Whose(play.dataset, one.user), again, int(again.item))
    assert play.faults(store.histories)["unlike"] == 1
    store.close()
    assert_later_parts_are_told_from_wrong_answers(play)
    play.recomputed.close()


def assert_later_parts_are_told_from_wrong_answers(play: Play) -> None:
    script, whose = play.scripts[0], Whose(play.dataset, play.scripts[0].user)
    whole = play.recomputed.of(whose)
    play.recomputed.replace(whose, script.before)
    play.recomputed.append(whose, script.rows[1], int(script.rows[1].item))
    (without_the_first,) = play.recomputed.scores(script.request)[:1]
    play.recomputed.replace(whose, whole)
    assert not script.counts(without_the_first)
    assert play.knows_a_later_part(script, without_the_first, sent=2)
    assert not play.knows_a_later_part(script, without_the_first, sent=1), "nobody has sent it"
    assert not play.knows_a_later_part(script, without_the_first + 1e-3, sent=2)
    after = play.recomputed.of(whose)
    assert after is not None
    assert whole is not None
    assert np.array_equal(after.ids, whole.ids), "it looks, and leaves everything as it was"


@pytest.mark.long
@pytest.mark.triton_server
@pytest.mark.slow(30)
@pytest.mark.parametrize("name", ["kill_store", "two_stores"])
def test_no_event_is_lost_or_counts_twice_and_no_answer_is_wrong(two_releases: Path, name: str) -> None:
    result = faults.run(two_releases, "lrea", PLAN, names=[name])
    (found,) = result["experiments"]
    assert faults.holds(result), found
    assert found["events"] == 30
    assert found["asked"] > 50
    assert found["told_apart"] == 1.0
    assert not found["errors"]
    assert (found["older"] > 0) == found["store_away"], "a fault that is not seen shows nothing"


@pytest.mark.parametrize("fault", ["lost", "double", "unlike", "wrong", "older", "later", "set_aside"])
def test_one_fault_is_enough(fault: str) -> None:
    clean = {"name": "x", "lost": 0, "double": 0, "unlike": 0, "wrong": 0, "older": 0, "later": 0, "store_away": False}
    clean |= {"set_aside": 0, "errors": {"ServerUnavailable": 3}}
    assert faults.holds({"experiments": [clean]})
    assert not faults.holds({"experiments": [clean, {**clean, fault: 1}]})
    assert not faults.holds({"experiments": [{**clean, "errors": {"ServerFailure": 1}}]})


@pytest.mark.triton_server
@pytest.mark.long
def test_a_soak_of_events_and_releases_answers_everything_right(two_releases: Path) -> None:
    plan = replace(SoakPlan(), minutes=0.12, release_every_s=3.0, users=10, rate=40.0, event_rate=20.0)
    (found,) = soak(two_releases, "lrea", plan)["experiments"]
    assert found["wrong"] == found["older"] == found["lost"] == found["double"] == 0
    assert not found["errors"]
    assert found["releases"] > len(found["samples"]) >= 1
    assert found["samples"][-1]["processes"] > 3
