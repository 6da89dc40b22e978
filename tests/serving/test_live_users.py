"""A request after a push knows the event: states, rows and fields are of the histories as they are."""

import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from export import rungs
from export.artifacts import Source
from export.histories import load
from export.lint import check
from export.repository import publish
from export.user_events import add_user_events
from loadtest.live.valkey_server import valkey_server
from serving.admin import Admin
from serving.direct import DirectModel
from serving.events.pushing import Pusher, Row
from serving.histories.histories import Histories
from serving.histories.opening import histories_beside, open_histories
from serving.in_process import InProcessModel
from serving.server import ServerOptions, TritonServer
from serving.state import builder, url_of
from tests.serving.live_releases import FIELDS, LATER, NEW, OVER_FIELDS, PUSHED, SERVED, SIZES, known, release

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(80)]
ITEMS = np.arange(1, 41)
ENDS = torch.tensor([len(ITEMS)], dtype=torch.int32)


class Ready(NamedTuple):
    """A server after a push."""

    repository: Path
    server: TritonServer
    client: Admin
    beside: dict[str, InProcessModel]
    """What is not served, and all steps that read the users' fields."""
    before: dict[str, dict[int, np.ndarray]]
    """Scores by model and user, before the push."""


def question(model: str, user: int) -> dict[str, np.ndarray]:
    key = {"request_key": np.array([[7]])} if model == "matt" else {}
    return {"user_id": np.array([[user]]), "candidates": ITEMS[None], **key}


def ask(client: Admin, model: str, user: int) -> np.ndarray:
    return client.infer(model, question(model, user))["scores"][0]


def scores(ready: Ready, model: str, user: int) -> np.ndarray:
    """Of a system that is served, or that answers in this process; of a plain one by the module behind its step."""
    if model in SERVED:
        return ask(ready.client, model, user)
    if model != "deepfm":
        return ready.beside[model].run([question(model, user)])[0]["scores"][0]
    (found,) = ready.beside["deepfm_user"].run([question(model, user)])
    return release(model)[1].eager(torch.from_numpy(ITEMS), ENDS, torch.from_numpy(found["user"]))[0].numpy()


def fields_of(ready: Ready, user: int) -> list[int]:
    """The user's fields that follow from the history, as each step gives them to its graph."""
    rows = [ready.beside[f"{model}_user"].run([question("", user)])[0]["user"][0] for model in ("deepfm", "matt")]
    rows.append(ready.client.infer("dea_user", question("dea", user))["user"][0])
    assert all(np.array_equal(row, rows[0]) for row in rows)
    return rows[0][-len(FIELDS) :].tolist()


def push(client: Admin, user: int, events: Sequence[tuple[int, int]], time: int = LATER) -> None:
    """Items and values, one tick apart."""
    rows = [
        Row(str(user), str(item), float(value), time + place, 0, f"{user} {time + place}")
        for place, (item, value) in enumerate(events)
    ]
    assert {*Pusher(client, "planted-clicks").push(rows)} == {"applied"}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    folder = tmp_path_factory.mktemp("live")
    models, more = folder / "models", folder / "more"
    source = Source(kind="factory", name="tests.serving.live_releases:release")
    for name in SERVED:
        publish(models, [one for one in release(name) if one.name != "chime_interests"], source)  # which only explains
    publish(more, release("matt"), source)
    publish(more, release("deepfm")[:1], source)
    histories = Histories(open_histories(histories_beside(models)))
    for _ in load(histories, known(pushed=False)):
        pass
    histories.close()
    (folder / "more.histories").symlink_to(folder / "models.histories")
    add_user_events(models)
    beside = {name: InProcessModel.open(more / name) for name in ("deepfm_user", "matt_user", "matt")}
    with TritonServer(models, ServerOptions(log=folder / "log")) as server, server.client() as client:
        ready = Ready(models, server, client, beside, {})
        before = {model: {user: scores(ready, model, user) for user in (*PUSHED, 4, 900)} for model in SIZES}
        for user, events in PUSHED.items():
            push(client, user, events)
        yield ready._replace(before=before)
    for model in beside.values():
        model.close()


def expected(model: str, user: int, *, pushed: bool) -> np.ndarray:
    """By the module itself, in fp64, on the samples of a view of all events."""
    whole = release(model, pushed=pushed)[-1]
    asked = {name: torch.from_numpy(array) for name, array in question(model, user).items()}
    asked |= {"candidates": torch.from_numpy(ITEMS), "candidate_offsets": ENDS}
    assert whole.reference is not None
    return whole.reference(*(asked[spec.name] for spec in whole.inputs))[0].numpy()


@pytest.mark.parametrize("model", SIZES)
def test_the_next_request_knows_what_was_pushed(ready: Ready, model: str) -> None:
    for user in PUSHED:
        served = scores(ready, model, user)
        np.testing.assert_allclose(ready.before[model][user], expected(model, user, pushed=False), atol=1e-5)
        np.testing.assert_allclose(served, expected(model, user, pushed=True), atol=1e-5)
        assert np.abs(served - ready.before[model][user]).max() > 1e-3
    for user in (4, 900):
        assert np.array_equal(scores(ready, model, user), ready.before[model][user]), "nobody else changes"


@pytest.mark.parametrize("model", SERVED)
def test_served_is_what_this_process_recomputes_bit_for_bit(ready: Ready, model: str) -> None:
    direct = InProcessModel.open(ready.repository / model)
    for user in (*PUSHED, 4, 900):
        assert np.array_equal(direct.run([question(model, user)])[0]["scores"][0], ask(ready.client, model, user))
    direct.close()


@pytest.mark.parametrize("model", SIZES)
def test_a_user_whom_no_release_knows_has_a_history_from_the_first_event_on(ready: Ready, model: str) -> None:
    user = 5000 + [*SIZES].index(model)
    empty = scores(ready, model, user)
    assert np.array_equal(empty, ready.before[model][900])
    push(ready.client, user, [(7, 5)])
    found = scores(ready, model, user)
    assert not np.array_equal(found, empty)
    assert np.array_equal(scores(ready, model, 900), empty)
    if model in OVER_FIELDS:
        np.testing.assert_allclose(found, expected(model, NEW, pushed=True), atol=1e-5)


def test_fields_follow_from_the_newest_event_and_the_newest_that_is_liked(ready: Ready) -> None:
    now = known(pushed=True).users.select(FIELDS)
    for user in PUSHED:
        assert fields_of(ready, user) == [*now.row(user)]
    assert now.row(3)[::2] == (11, 9), "who likes the last item no more likes the one before still"
    assert fields_of(ready, 4) == [*now.row(4)]
    assert fields_of(ready, 900) == [*now.row(0)] == [49, 6, 49]


def test_neither_the_order_of_pushes_nor_one_that_comes_late_changes_what_is_newest(ready: Ready) -> None:
    events = [(7, 5), (9, 1), (11, 4), (12, 2)]
    push(ready.client, 20, events)
    for place in (2, 3, 0, 1):
        push(ready.client, 21, events[place : place + 1], LATER + place)
    newest = fields_of(ready, 20)
    assert newest[::2] == [12, 11]
    assert fields_of(ready, 21) == newest
    for model in OVER_FIELDS:
        before = scores(ready, model, 20)
        push(ready.client, 20, [(5, 5)], -1 - OVER_FIELDS.index(model))
        assert np.array_equal(scores(ready, model, 20), before)


def test_each_rung_in_process_holds_whatever_users_did(ready: Ready) -> None:
    more = ready.repository.with_name("more")
    for repository, name in ((ready.repository, "dea"), (more, "matt")):
        assert [finding for finding in check(repository) if finding.severity == "error"] == []
        for path in sorted(repository.glob(f"{name}*")):
            model = rungs.opened(path, "cpu")
            assert model.direct is not None
            assert rungs.exported(model, model.direct).ok, path.name
            if model.goldens[0].reference64:
                assert rungs.trained(model).ok, path.name


def test_a_stale_state_is_computed_again_once(ready: Ready) -> None:
    def counts() -> dict[str, float]:
        text = urllib.request.urlopen(ready.server.metrics_url).read().decode()
        lines = [one for one in text.splitlines() if one.startswith("recserve_user_") and 'model="lrea' in one]
        rows = [one for one in lines if "outcome=" in one]
        return {one.split('outcome="')[1].split('"')[0]: float(one.split()[-1]) for one in rows}

    ask(ready.client, "lrea", 6)
    before = _settled(counts)
    Pusher(ready.client, "planted-clicks").push([Row("6", "7", 5.0, LATER, 0, "once")])
    answers = [ask(ready.client, "lrea", 6) for _ in range(3)]
    after = _settled(counts)
    assert after["stale"] - before["stale"] == 1
    assert after["hit"] - before["hit"] == 2
    assert after["live"] - before["live"] == 3
    assert all(np.array_equal(answers[0], one) for one in answers)


def test_a_state_that_takes_single_events_is_not_computed_again(ready: Ready) -> None:
    def observed() -> float:
        text = urllib.request.urlopen(ready.server.metrics_url).read().decode()
        lines = [one for one in text.splitlines() if one.startswith("recserve_user_state_observed_events_total")]
        return sum(float(one.split()[-1]) for one in lines if 'model="chime' in one)

    ask(ready.client, "chime", 8)
    time.sleep(0.3)
    before = observed()
    found = []
    for _ in range(2):
        Pusher(ready.client, "planted-clicks").push([Row("8", "7", 5.0, LATER, 0, "once")])
        found.append(ask(ready.client, "chime", 8))
    time.sleep(0.3)
    assert observed() - before == 1
    direct = InProcessModel.open(ready.repository / "chime")
    assert np.array_equal(direct.run([question("chime", 8)])[0]["scores"][0], found[1]), "as from the whole history"
    direct.close()


def _settled(counts) -> dict[str, float]:
    time.sleep(0.3)
    return counts()


def test_states_ahead_of_time_are_of_the_histories_as_they_are(ready: Ready, tmp_path: Path) -> None:
    encoder, model = DirectModel.open(ready.repository / "lrea_encoder"), "lrea_state"
    ahead = url_of(tmp_path / "state")
    built = builder.build(
        ready.repository, ahead, lambda inputs: encoder.run([inputs])[0], lambda *_: None, model=model
    )
    assert set(built.histories) == {"live"}
    for user in PUSHED:
        ask(ready.client, "lrea", user)
        mine, served = (
            builder.show(ready.repository, store, user, model=model) for store in (ahead, ready.server.state)
        )
        assert (mine.outcome, served.outcome) == ("hit", "hit"), "it is what the server asks for"
        assert mine.state is not None
        assert served.state is not None
        for name, array in mine.state.items():
            np.testing.assert_allclose(served.state[name], array, atol=1e-6)


def test_goldens_hold_after_users_have_moved_on(ready: Ready) -> None:
    ready.server.restart()
    with ready.server.client() as client:
        for model, user in product(SERVED, PUSHED):
            np.testing.assert_allclose(ask(client, model, user), expected(model, user, pushed=True), atol=1e-5)


def test_a_store_that_hangs_slows_nobody_for_long_and_fails_no_request(ready: Ready, tmp_path: Path) -> None:
    """What was exported answers meanwhile, and what was pushed as soon as the store answers again."""
    user, few = 3, tmp_path / "few"
    for model in ("din", "din_history", "din_scorer", "user_events"):
        shutil.copytree(ready.repository / model, few / model)
    with valkey_server(tmp_path / "valkey") as valkey:
        histories = Histories(open_histories(valkey.url))
        for _ in load(histories, known(pushed=False)):
            pass
        options = ServerOptions(log=tmp_path / "log", state=tmp_path / "state", histories=valkey.url)
        with TritonServer(few, options) as server, server.client() as client:
            assert np.array_equal(ask(client, "din", user), ready.before["din"][user])
            Pusher(client, "planted-clicks").push([Row(str(user), "7", 5.0, LATER, 0, "one more")])
            live = ask(client, "din", user)
            assert not np.array_equal(live, ready.before["din"][user])
            valkey.send(signal.SIGSTOP)
            answers = [ask(client, "din", user) for _ in range(50)]
            assert all(np.array_equal(one, ready.before["din"][user]) for one in answers)
            valkey.send(signal.SIGCONT)
            end = time.monotonic() + 20
            while not np.array_equal(ask(client, "din", user), live):
                assert time.monotonic() < end
            valkey.kill()
            assert np.array_equal(ask(client, "din", user), ready.before["din"][user])
