"""`retrieve_then_rank` behind a real server: the list is that of two calls, bit for bit, and follows what users do."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.histories import load
from export.lint import check
from export.parity import ParityOptions, offline, walk
from export.repository import publish
from export.user_events import add_user_events
from recserve_client.errors import InvalidRequest
from serving.admin import Admin
from serving.events.pushing import Pusher, Row
from serving.histories.histories import Histories
from serving.histories.opening import histories_beside, open_histories
from serving.server import ServerOptions, TritonServer
from tests.conftest import lrea
from training.data.planted_clicks import planted_clicks
from training.interactions import Interactions
from training.registry import SYSTEMS
from training.retrieve_then_rank import NAME, RETRIEVER, joined
from training.servable import Origin, Signature, of_origin
from training.system import Wanted, prepare

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(60)]
NUMBER, GENRES = 12, 5
CHAINED = "chained"
"""A target whose ensembles are tritonserver's own, with a process for each step."""
LATER = 2_000_000_000


@cache
def data() -> Interactions:
    return planted_clicks()


def retriever(name: str) -> tuple[Signature, ...]:
    system = SYSTEMS[name]
    config = system.config(**{**system.quick, "dim": 8})
    view = system.task.view(data(), Wanted(system.reads, config.max_length, {}))
    torch.manual_seed(0)
    module = system.build(config, view.schema)
    prepare(module, view)
    origin = Origin(system=name, task=system.task.name, schema=view.interactions.schema)
    return of_origin(system.task.listed_by_user(RETRIEVER, module.eval(), view, NUMBER), origin)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retrieval") / "models"
    publish(folder, joined(retriever("two_tower"), lrea()), Source(kind="factory", name="tests.serving.retrieval"))
    for entry in folder.iterdir():
        own = "config.pbtxt" if entry.name in (NAME, RETRIEVER, "lrea") else "configs/cpu.pbtxt"
        shutil.copy(entry / own, entry / "configs" / f"{CHAINED}.pbtxt")
    return folder


@pytest.fixture(scope="module")
def client(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """Of a server that knows what users do."""
    models = tmp_path_factory.mktemp("live") / "models"
    shutil.copytree(repository, models)
    histories = Histories(open_histories(histories_beside(models)))
    for _ in load(histories, data()):
        pass
    histories.close()
    add_user_events(models)
    options = ServerOptions(state=models.parent / "state", log=models.parent / "log")
    with (
        TritonServer(models, options) as server,
        Admin(server.url, deadline_s=30.0, admin_key=server.admin_key) as client,
    ):
        yield client


def asked(user: int, excluded: tuple[int, ...] = (), genre: int = -1) -> dict[str, np.ndarray]:
    return {
        "user_id": np.array([[user]]),
        "excluded": np.array([excluded], np.int64),
        "only_genres": np.array([[genre]]),
    }


REQUESTS = [asked(1), asked(7, (3, 5, 48)), asked(64, (), 2), asked(900), asked(12, (1,), 4), asked(2, (), 0)]


def in_one(client: Admin, request: Mapping[str, np.ndarray], k: int = NUMBER) -> dict[str, np.ndarray]:
    return client.infer(NAME, {**request, "k": np.array([[k]])})


def in_two(client: Admin, request: Mapping[str, np.ndarray], k: int = NUMBER) -> dict[str, np.ndarray]:
    """As a client does it that asks the retriever, then the ranker, and sorts."""
    listed = client.infer(RETRIEVER, request)
    items, own = listed["items"][0], listed["scores"][0]
    ranked = client.infer("lrea", {"user_id": request["user_id"], "candidates": items[None]})["scores"][0]
    order = np.argsort(np.where(items > 0, -ranked, np.inf), kind="stable")
    kept = (np.arange(NUMBER) < k) & (items[order] > 0)
    parts = {"items": (items, 0), "scores": (ranked, -1e9), "retriever_scores": (own, -1e9)}
    return {name: np.where(kept, part[order], np.array(none, part.dtype))[None] for name, (part, none) in parts.items()}


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(array, other[name]) for name, array in one.items())


def listed(answer: Mapping[str, np.ndarray]) -> list[int]:
    return [item for item in answer["items"][0].tolist() if item]


@pytest.mark.parametrize("k", [1, 5, NUMBER])
def test_one_call_answers_what_two_calls_do_bit_for_bit(client: Admin, k: int) -> None:
    for request in REQUESTS:
        assert same(in_one(client, request, k), in_two(client, request, k))
    assert len(listed(in_one(client, REQUESTS[0], k))) == k


def test_what_was_met_excluded_or_lacks_the_wanted_value_is_not_listed(client: Admin) -> None:
    genres = data().items["genres"].to_list()
    events = data().events
    for user in range(1, 20):
        met = {*events.filter(events["user"] == user)["item"].to_list()}
        free = listed(in_one(client, asked(user)))
        assert not met & {*free}
        assert {*free} <= {*range(1, 49)}
        fewer = listed(in_one(client, asked(user, tuple(free[:3]))))
        assert not {*free[:3]} & {*fewer}
        assert [one for one in fewer if one in free] == [one for one in free if one in fewer]
        left = {one for one in range(1, 49) if genres[one] == [2]} - met
        assert {*listed(in_one(client, asked(user, (), 2)))} == left


def test_the_next_list_knows_what_the_user_did(client: Admin) -> None:
    before = listed(in_one(client, asked(30)))
    row = Row("30", str(before[0]), 5.0, LATER, 0, "first")
    assert {*Pusher(client, "planted-clicks").push([row])} == {"applied"}
    after = in_one(client, asked(30))
    assert before[0] not in listed(after)
    assert same(after, in_two(client, asked(30)))
    stranger = in_one(client, asked(31_000))
    liked = int(stranger["items"][0, -1])
    Pusher(client, "planted-clicks").push([Row("31000", str(liked), 5.0, LATER, 0, "new")])
    known = in_one(client, asked(31_000))
    assert liked not in listed(known)
    assert not np.array_equal(known["retriever_scores"], stranger["retriever_scores"])


def test_a_disliked_item_is_not_listed_and_says_nothing_of_taste(client: Admin) -> None:
    before = client.infer(RETRIEVER, asked(40))
    worst = int(before["items"][0, -1])
    Pusher(client, "planted-clicks").push([Row("40", str(worst), 1.0, LATER, 0, "disliked")])
    after = client.infer(RETRIEVER, asked(40))
    kept = [place for place, item in enumerate(before["items"][0].tolist()) if item and item != worst]
    assert np.array_equal(before["scores"][0, kept], after["scores"][0, : len(kept)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": np.array([[0]])}, "input 'k': 0 is below 1"),
        ({"k": np.array([[NUMBER + 1]])}, f"input 'k': {NUMBER + 1} is above {NUMBER}"),
        ({"only_genres": np.array([[GENRES]])}, f"input 'only_genres': {GENRES} is above {GENRES - 1}"),
        ({"only_genres": np.array([[-2]])}, "input 'only_genres': -2 is below -1"),
        ({"excluded": np.array([[3, -1]])}, "input 'excluded': -1 is negative"),
        ({"excluded": np.ones((1, 1001), np.int64)}, "input 'excluded' has 1001 elements, more than the 1000"),
    ],
)
def test_a_wrong_request_is_refused_by_name_and_the_next_one_answered(
    client: Admin, changes: dict[str, np.ndarray], reason: str
) -> None:
    right = {**asked(3), "k": np.array([[4]])}
    before = client.infer(NAME, right)
    with pytest.raises(InvalidRequest, match=reason):
        client.infer(NAME, right | changes)
    assert same(before, client.infer(NAME, right))


def test_a_client_may_leave_out_all_but_the_user(client: Admin) -> None:
    found = client.generate(user=9, model=NAME)
    assert [*found.items] == listed(in_one(client, asked(9)))
    few = client.generate(user=9, model=NAME, context={"k": 3, "excluded": [*found.items[:2]]})
    assert [*few.items] == listed(in_one(client, asked(9, found.items[:2]), 3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidRequest, match="also takes user_id"):
        client.generate(model=NAME)


def test_sixteen_clients_get_what_one_alone_gets(client: Admin) -> None:
    alone = [in_one(client, request) for request in REQUESTS]
    with ThreadPoolExecutor(16) as pool:
        for one, other in zip(alone * 8, pool.map(lambda request: in_one(client, request), REQUESTS * 8), strict=True):
            assert np.array_equal(one["items"], other["items"])
            np.testing.assert_allclose(one["scores"], other["scores"], rtol=0, atol=1e-6)


def test_it_answers_alike_as_tritonservers_own_ensemble(repository: Path, client: Admin, tmp_path: Path) -> None:
    options = ServerOptions(target=CHAINED, state=tmp_path / "state", log=tmp_path / "log")
    with TritonServer(repository, options) as server, Admin(server.url, deadline_s=30.0) as chained:
        for request in REQUESTS:
            one, other = in_one(client, request), in_one(chained, request)
            assert np.array_equal(one["items"], other["items"])
            np.testing.assert_allclose(one["scores"], other["scores"], rtol=0, atol=1e-6)


def test_linter_and_parity_ladder_hold(repository: Path) -> None:
    assert not [one for one in check(repository) if one.severity == "error"]
    ladder = walk(repository, ParityOptions(requests=32))
    assert ladder.ok, ladder.rows[-1]
    assert {row.rung for row in ladder.rows if row.model == NAME} == {"export", "served", "concurrent"}


def test_a_model_of_sequences_retrieves_as_well(tmp_path: Path) -> None:
    publish(tmp_path, retriever("sasrec"), Source(kind="factory", name="tests.serving.retrieval"))
    rows = offline(tmp_path)
    assert all(row.ok for row in rows)
    assert {row.model.removeprefix(RETRIEVER) for row in rows} == {"", "_history", "_list"}
