"""A small MATT on the real server: the parity ladder, `recserve explain`, and ranking by it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.parity import ParityOptions, walk
from export.renaming import under_name
from export.repository import publish
from recserve.cli import main
from recserve.commands.rank import rank
from serving.server import ServerOptions, TritonServer
from tests.training.systems.matt_models import SYSTEMS, data, untrained
from training.servable import Origin

pytestmark = pytest.mark.triton_server
ITEMS = (3, 7, 10_000)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of matt_dea over the planted fields, and the same one as shop."""
    system, config = SYSTEMS["dea"]
    assert system.servables is not None
    folder = tmp_path_factory.mktemp("matt") / "repository"
    source = Source(kind="factory", name="tests.training.systems.matt_models:untrained")
    origin = Origin(system="matt_dea", task="click prediction", schema=data().schema)
    release = [replace(one, origin=origin) for one in system.servables(untrained("dea"), config, data())]
    publish(folder, release, source)
    publish(folder, under_name(release, "shop"), source)
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    log = tmp_path_factory.mktemp("matt_server") / "server.log"
    with TritonServer(repository, ServerOptions(log=log)) as started:
        yield started


def test_every_rung_of_the_ladder_holds(repository: Path) -> None:
    ladder = walk(repository, ParityOptions(requests=200, clients=8))
    assert ladder.ok, ladder.rows[-1]
    rungs = {(row.model, row.rung) for row in ladder.rows}
    assert rungs >= {("matt_dea", rung) for rung in ("model", "served", "concurrent")}
    assert rungs >= {("matt_dea_scorer", rung) for rung in ("model", "export", "served", "concurrent")}
    assert ladder.concurrent.executions < ladder.concurrent.requests


def explained(
    server: TritonServer, repository: Path, capsys: pytest.CaptureFixture[str], key: int, *more: str
) -> dict[str, Any]:
    arguments = ["--user", "5", "--candidates", *map(str, ITEMS), "--request-key", str(key), *more, "--json"]
    where = ["--url", server.url, "--repository", str(repository), "--deadline-s", "30"]
    assert main(["explain", *arguments, *where]) == 0
    return json.loads(capsys.readouterr().out)


def test_explain_says_what_each_path_keeps_and_how_the_answer_comes_about(
    server: TritonServer, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(server, repository, capsys, key=1)
    assert [one["item"] for one in found["candidates"]] == list(ITEMS)
    module, names = untrained("dea"), data().field_names
    for one in found["candidates"]:
        paths = one["paths"]
        share, score = (np.array([path[name] for path in paths]) for name in ("share", "score"))
        assert one["score"] == pytest.approx(share @ score, abs=1e-6)
        assert one["spread"] == pytest.approx(np.sqrt(share @ (score - one["score"]) ** 2), abs=1e-6)
        assert paths[0]["kept"] == list(names)
        assert all({"user_id", "item_id"} <= set(path["kept"]) for path in paths)
        values = [int(field["value"]) for field in one["fields"]]
        of_user, of_item = data().user_rows[4], data().item_rows[one["item"] if one["item"] < 1000 else 0]
        assert values == [*of_user, *of_item]
        for path in paths:
            kept = [field["confidence"] for field in one["fields"] if field["name"] in path["kept"]]
            free = [value for name, value in zip(path["kept"], kept, strict=True) if name not in ("user_id", "item_id")]
            assert path["confidence"] == pytest.approx(np.mean(free) if free else 0.0)
    ids = torch.tensor([[int(field["value"]) for field in found["candidates"][0]["fields"]]])
    with torch.no_grad():
        keep = torch.tensor([[name in path["kept"] for name in names] for path in found["candidates"][0]["paths"]])
        logits = module.base.logits(ids.expand(len(keep), -1), keep)
    scores = [path["score"] for path in found["candidates"][0]["paths"]]
    np.testing.assert_allclose(scores, torch.sigmoid(logits).numpy(), atol=1e-5)


def test_the_same_key_is_explained_alike_and_another_one_otherwise(
    server: TritonServer, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (explained(server, repository, capsys, key) for key in (1, 1, 2))
    assert first == again
    assert first["candidates"] != other["candidates"]


def test_a_release_under_another_name_is_explained_by_its_own_parts(
    server: TritonServer, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in repository.iterdir()} > {"shop", "shop_sampler", "shop_scorer"}
    first = explained(server, repository, capsys, key=1)
    other = explained(server, repository, capsys, 1, "--model", "shop")
    assert (first["model"], other["model"]) == ("matt_dea", "shop")
    assert first["candidates"] == other["candidates"]


def test_ranking_by_matt_orders_unseen_titles_by_the_served_score(server: TritonServer) -> None:
    with server.client() as client:
        ranked = rank(client, data(), 5, model="matt_dea", request_key=1)
        again = rank(client, data(), 5, model="matt_dea", request_key=1)
    assert ranked == again
    assert {one.item for one in ranked} == set(data().titles) - data().seen(5)
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)


def test_another_release_in_the_repository_than_on_the_server_is_not_explained(
    server: TritonServer, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(repository, tmp_path / "other"))
    schema = other / "matt_dea_sampler" / "1" / "schema.json"
    schema.write_text(schema.read_text().replace('"planted', '"other'))
    where = ["--url", server.url, "--repository", str(other)]
    assert main(["explain", "--user", "5", "--candidates", "3", *where]) == 2
    assert "is not what the server at" in capsys.readouterr().err
    assert main(["explain", "--user", "5", "--candidates", "3", "--model", "matt_dea", *where]) == 2
    (other / "matt_dea_sampler" / "1").rename(other / "matt_dea_sampler" / "2")
    assert main(["explain", "--user", "5", "--candidates", "3", *where]) == 2
    assert "matt_dea_sampler/1 is not what the server at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rank", "--user", "1", "--system", "deepfm"], "no served models"),
        (["rank", "--user", str(2**63)], "--user 9223372036854775808 is no id: ids are whole numbers of 64 bits"),
        (["rank", "--user", "1", "--candidates", "5", str(-(2**63) - 1)], "--candidates -9223372036854775809 is no id"),
        (["explain", "--user", "1", "--candidates", str(2**64)], "--candidates 18446744073709551616 is no id"),
        (["explain", "--user", "1", "--candidates", "1", "--repository", "nowhere"], "export a run of matt_dea"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err
