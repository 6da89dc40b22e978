"""The traffic of each served model: what its task asks, by raw ids, answered as this process answers it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loadtest.bench import trusted_pool
from loadtest.pool import Pool
from loadtest.scenario import REQUESTS, Scenario, with_states
from recserve_client import Client
from serving.server import ServerOptions, TritonServer
from tests.recserve.releases import SKUS, everything, registered

pytestmark = [pytest.mark.slow(110), pytest.mark.triton_server]
MODELS = ("deepfm", "fm", "shop", "reg4rec", "retrieve_then_rank", "rqvae", "two_tower", "dkt")


@pytest.fixture(scope="module", autouse=True)
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with a system of each task, on own tables with ids of text and of 62 bits."""
    with registered(tmp_path_factory.mktemp("traffic")):
        yield everything(tmp_path_factory)


@pytest.fixture(scope="module")
def client(released: Path) -> Iterator[Client]:
    options = ServerOptions(state=released.parent / "state", log=released.parent / "log")
    with TritonServer(released, options) as server, Client(server.url, deadline_s=30.0) as one:
        yield one


@pytest.mark.parametrize("model", MODELS)
def test_what_is_asked_is_answered_as_alone_also_when_read_from_the_file(
    released: Path, client: Client, tmp_path: Path, model: str
) -> None:
    trusted_pool(Scenario(model), released, 0).save(tmp_path / "pool")
    pool = Pool.load(tmp_path / "pool")
    assert len(pool.requests) == REQUESTS
    assert len({str(one.inputs) for one in pool.requests}) > 20
    for request in pool.requests[:16]:
        assert request.is_right(client.infer(model, request.inputs))
        spoilt = {name: array[:, ::-1] for name, array in request.expected[0].items()}
        assert not request.is_right(spoilt) or all(len(np.unique(array)) == 1 for array in spoilt.values())


def test_raw_ids_and_the_fields_of_events_are_sent(released: Path) -> None:
    ranked = Scenario("fm").requests(released, 0)
    assert {item for one in ranked for item in one["candidates"].flat} == {*SKUS}
    assert all(user.startswith("anna") for one in ranked for user in one["user_id"].flat)
    assert {one["page"].item() for one in ranked} == {"cart", "home", "search"}
    assert {one["hour"].item() for one in ranked} == {*range(24)}
    listed = Scenario("reg4rec").requests(released, 0)
    assert {item for one in listed for item in one["history"].flat} <= {*SKUS}
    assert len({one["history"].size for one in listed}) > 10
    thetas = [one["theta"].item() for one in listed]
    assert 0 <= min(thetas) < 0.1 < 0.9 < max(thetas) <= 1
    assert len({one["request_key"].item() for one in Scenario("shop").requests(released, 0)}) > 500


def test_requests_follow_from_the_seed(released: Path) -> None:
    first, again, other = (Scenario("fm").requests(released, seed) for seed in (0, 0, 1))
    assert str(first) == str(again) != str(other)


def test_what_cannot_be_asked_is_refused_by_name(released: Path) -> None:
    with pytest.raises(ValueError, match="has no model 'apache'; it has deepfm, dkt, "):
        Scenario("apache").requests(released, 0)
    with pytest.raises(ValueError, match="0 models keep users' states; publish one that does"):
        with_states(released, None)
    with pytest.raises(ValueError, match="model 'fm' is none that keeps users' states"):
        with_states(released, "fm")
