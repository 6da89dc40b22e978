"""A request after a push knows the event: states and rows are of the histories as they are."""

import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from export.artifacts import Source
from export.histories import load
from export.repository import publish
from export.user_events import add_user_events
from serving.admin import Admin
from serving.events.pushing import Pusher, Row
from serving.histories.histories import Histories
from serving.histories.opening import histories_beside, open_histories
from serving.in_process import InProcessModel
from serving.server import ServerOptions, TritonServer
from tests.serving.histories.valkey_server import valkey_server
from training.data.click import HISTORY
from training.data.planted_clicks import planted_clicks
from training.registry import system
from training.servable import Origin, Signature, of_origin
from training.system import Wanted, prepare

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(30)]
ITEMS = np.arange(1, 41)
LATER = int(planted_clicks().events["time"].to_numpy().max()) + 10
SIZES = {
    "lrea": {"dim": 8, "heads": 2, "rank": 4, "max_length": 12, "hidden": (8, 4)},
    "din": {"dim": 8, "max_length": 12, "hidden": (8, 4)},
}
PUSHED = {3: [7, 9, 11], 5: [1] * 30}
"""Items by user: a few, and more than a model reads."""


def new_events() -> pl.DataFrame:
    rows = [(user, item, 4, LATER + place, 1.0) for user, items in PUSHED.items() for place, item in enumerate(items)]
    made = pl.DataFrame(rows, schema=["user", "item", "value", "time", "label"], orient="row")
    return made.cast({"label": pl.Float32}).cast(
        {n: t for n, t in planted_clicks().events.schema.items() if n in made.columns}
    )


def release(name: str, events: pl.DataFrame | None = None) -> tuple[Signature, ...]:
    """An untrained system with weights that matter; its users did `events` after the planted ones."""
    chosen, planted, wanted = system(name), planted_clicks(), Wanted(frozenset({HISTORY}), 12, {})
    config = chosen.config(**SIZES[name])
    data = chosen.task.view(planted, wanted)
    torch.manual_seed(0)
    module = chosen.build(config, data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    if events is not None:
        data = chosen.task.view(replace(planted, events=pl.concat([planted.events, events], how="diagonal")), wanted)
    origin = Origin(system=name, task=chosen.task.name, schema=data.schema)
    return of_origin(chosen.release(module.eval(), config, data), origin)


class Ready(NamedTuple):
    """A server after a push."""

    repository: Path
    server: TritonServer
    client: Admin
    before: dict[str, dict[int, np.ndarray]]
    """Scores by model and user, before the push."""


def ask(client: Admin, model: str, user: int) -> np.ndarray:
    return client.infer(model, {"user_id": np.array([[user]]), "candidates": ITEMS[None]})["scores"][0]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    folder = tmp_path_factory.mktemp("live")
    models = folder / "models"
    for name in SIZES:
        publish(models, release(name), Source(kind="factory", name="tests.serving.test_live_users:release"))
    histories = Histories(open_histories(histories_beside(models)))
    for _ in load(histories, planted_clicks()):
        pass
    histories.close()
    add_user_events(models)
    with TritonServer(models, ServerOptions(log=folder / "log")) as server, server.client() as client:
        before = {model: {user: ask(client, model, user) for user in (*PUSHED, 4, 900)} for model in SIZES}
        rows = [
            Row(str(user), str(item), 4.0, LATER + place, 0, f"{user} {place}")
            for user, items in PUSHED.items()
            for place, item in enumerate(items)
        ]
        assert {*Pusher(client, "planted-clicks").push(rows)} == {"applied"}
        yield Ready(models, server, client, before)


def expected(model: str, user: int, events: pl.DataFrame | None) -> np.ndarray:
    """By the trusted form, of a view of all events."""
    whole = release(model, events)[-1]
    ends = torch.tensor([len(ITEMS)], dtype=torch.int32)
    (scores,) = whole.eager(torch.tensor([[user]]), torch.from_numpy(ITEMS), ends)
    return scores.numpy()


@pytest.mark.parametrize("model", SIZES)
def test_the_next_request_knows_what_was_pushed(ready: Ready, model: str) -> None:
    for user in PUSHED:
        served = ask(ready.client, model, user)
        np.testing.assert_allclose(ready.before[model][user], expected(model, user, None), atol=1e-5)
        np.testing.assert_allclose(served, expected(model, user, new_events()), atol=1e-5)
        assert np.abs(served - ready.before[model][user]).max() > 1e-3
    for user in (4, 900):
        assert np.array_equal(ask(ready.client, model, user), ready.before[model][user]), "nobody else changes"


@pytest.mark.parametrize("model", SIZES)
def test_served_is_what_this_process_recomputes_bit_for_bit(ready: Ready, model: str) -> None:
    direct = InProcessModel.open(ready.repository / model)
    for user in (*PUSHED, 4, 900):
        request = {"user_id": np.array([[user]]), "candidates": ITEMS[None]}
        assert np.array_equal(direct.run([request])[0]["scores"][0], ask(ready.client, model, user))
    direct.close()


@pytest.mark.parametrize("model", SIZES)
def test_a_user_whom_no_release_knows_has_a_history_from_the_first_event_on(ready: Ready, model: str) -> None:
    user = 5000 + len(model)
    empty = ask(ready.client, model, user)
    assert np.array_equal(empty, ready.before[model][900])
    Pusher(ready.client, "planted-clicks").push([Row(str(user), "7", 5.0, LATER, 0, "first")])
    found = ask(ready.client, model, user)
    assert not np.array_equal(found, empty)
    assert np.array_equal(ask(ready.client, model, 900), empty)


def test_a_stale_state_is_computed_again_once(ready: Ready) -> None:
    def counts() -> dict[str, float]:
        text = urllib.request.urlopen(ready.server.metrics_url).read().decode()
        rows = [one for one in text.splitlines() if one.startswith("recserve_user_") and 'model="lrea' in one]
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


def _settled(counts) -> dict[str, float]:
    time.sleep(0.3)
    return counts()


def test_goldens_hold_after_users_have_moved_on(ready: Ready) -> None:
    ready.server.restart()
    with ready.server.client() as client:
        for user in PUSHED:
            np.testing.assert_allclose(ask(client, "lrea", user), expected("lrea", user, new_events()), atol=1e-5)


def test_a_store_that_hangs_slows_nobody_for_long_and_fails_no_request(ready: Ready, tmp_path: Path) -> None:
    """What was exported answers meanwhile, and what was pushed as soon as the store answers again."""
    user = 3
    with valkey_server(tmp_path / "valkey") as valkey:
        histories = Histories(open_histories(valkey.url))
        for _ in load(histories, planted_clicks()):
            pass
        options = ServerOptions(log=tmp_path / "log", state=tmp_path / "state", histories=valkey.url)
        with TritonServer(ready.repository, options) as server, server.client() as client:
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
