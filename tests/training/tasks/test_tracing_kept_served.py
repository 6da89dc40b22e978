import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from export.artifacts import Source
from export.histories import load
from export.parity import offline
from export.repository import publish
from export.user_events import add_user_events
from loadtest.live.valkey_server import valkey_server
from serving.admin import Admin
from serving.events.pushing import Pusher, Row
from serving.histories.histories import Histories
from serving.histories.opening import open_histories
from serving.server import ServerOptions, TritonServer
from tests.once import once_at
from training.baselines.pfa import PFA, Config, PFAState
from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingBatch, TracingData
from training.layers.tracer import fold
from training.servable import Origin, Signature, of_origin
from training.system import PLAIN
from training.tasks.tracing import TRACING
from training.tasks.tracing_kept_served import kept, right_values

ASKED = [5, 6, 7]
PARTS = ["pfa_encoder", "pfa_scorer", "pfa_observer", "pfa_state", "pfa_of_user"]


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(simulate(Simulation(students=30, replies=True, most_answers=40)).interactions, PLAIN)


@pytest.fixture(scope="module")
def model(data: TracingData) -> PFA:
    torch.manual_seed(0)
    built = PFA(Config(), data.schema)
    built.prepare(data)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.3)
    return built.eval()


@pytest.fixture(scope="module")
def release(data: TracingData, model: PFA) -> tuple[Signature, ...]:
    origin = Origin(system="pfa", task="tracing", schema=data.schema)
    return of_origin(kept("pfa", model, data), origin)


@pytest.fixture(scope="module")
def models(data: TracingData, release: tuple[Signature, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")

    def make(new: Path) -> None:
        publish(new, release, Source(kind="run", name="pfa"), data.schema)

    return once_at(folder / "models", folder.parent, "kept-tracing", make)


def by_hand(data: TracingData, model: PFA, user: int, asked: list[int], further: int = 0) -> Tensor:
    """Probabilities after all answers of a student, and so many right ones to question 5."""
    own = data.interactions.events.filter(pl.col("user") == user)
    questions = torch.tensor([own["item"].to_list() + [5] * further])
    responses = torch.tensor([[int(one) for one in own["label"].to_list()] + [1] * further])
    batch = TracingBatch(
        torch.tensor([user]), questions, responses, torch.tensor([questions.shape[1]]), questions.float()
    )
    with torch.no_grad():
        state = PFAState(*fold(model, batch).state)
        return torch.cat([model.ask(state, torch.tensor([one])) for one in asked]).sigmoid()


def test_it_is_there_where_a_live_history_says_what_was_right(data: TracingData, model: PFA) -> None:
    assert [one.name for one in TRACING.release("pfa", model, data)][:5] == PARTS
    interactions = data.interactions
    right = right_values(interactions)
    assert right is not None
    assert right.tolist() == [False, False, True]
    mixed = interactions.events.with_columns(value=pl.lit(1))
    for events in (mixed, interactions.events.drop("value"), interactions.events.drop("time")):
        assert right_values(replace(interactions, events=events)) is None
    assert kept("pfa", model, TRACING.view(TRACING.planted(), PLAIN)) == ()


def test_the_ensemble_answers_from_the_history_that_came_with_the_release(
    data: TracingData, model: PFA, release: tuple[Signature, ...]
) -> None:
    whole = release[4]
    asked = torch.tensor([5, 6, 7])
    probabilities, mastery = whole.eager(torch.tensor([[4]]), asked, torch.tensor([3], dtype=torch.int32))
    torch.testing.assert_close(probabilities, by_hand(data, model, 4, [5, 6, 7]), rtol=0, atol=1e-6)
    assert mastery.shape == (1, data.concepts.max())
    nobody, _ = whole.eager(torch.tensor([[2**40]]), asked, torch.tensor([3], dtype=torch.int32))
    start = model.start(torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(nobody, model.ask(start, asked).sigmoid())


@pytest.mark.slow
def test_the_rungs_in_this_process_hold_with_states_that_take_one_answer(models: Path) -> None:
    rows = offline(models)
    assert all(row.ok for row in rows), [row for row in rows if not row.ok]
    assert {row.model for row in rows if row.rung == "fold"} == {"pfa_state"}
    assert {row.model for row in rows if row.rung == "model"} == {"pfa_of_user"}


@pytest.mark.triton_server
@pytest.mark.slow
def test_an_answer_that_is_pushed_counts_once_for_its_student_and_after_a_restart(
    data: TracingData, model: PFA, models: Path, tmp_path: Path
) -> None:
    own = tmp_path / "models"
    shutil.copytree(models, own)
    add_user_events(own)
    with valkey_server(tmp_path / "valkey") as valkey:
        histories = Histories(open_histories(valkey.url))
        for _ in load(histories, data.interactions):
            pass
        options = ServerOptions(log=tmp_path / "log", state=tmp_path / "state", histories=valkey.url)
        with TritonServer(own, options) as server:
            with server.client() as client:
                np.testing.assert_allclose(asked(client, 4), by_hand(data, model, 4, ASKED), atol=1e-5)
                for further, name in enumerate(("first", "first", "second", "second")):
                    Pusher(client, data.interactions.name).push([Row("4", "5", 1.0, 500, 0, name)])
                    expected = by_hand(data, model, 4, ASKED, further // 2 + 1)
                    np.testing.assert_allclose(asked(client, 4), expected, atol=1e-5)
                np.testing.assert_allclose(asked(client, 7), by_hand(data, model, 7, ASKED), atol=1e-5)
            server.restart()
            with server.client() as client:
                np.testing.assert_allclose(asked(client, 4), by_hand(data, model, 4, ASKED, 2), atol=1e-5)


def asked(client: Admin, user: int) -> np.ndarray:
    inputs = {"user_id": np.array([[user]]), "candidates": np.array([ASKED])}
    return client.infer("pfa_of_user", inputs)["probabilities"][0]
