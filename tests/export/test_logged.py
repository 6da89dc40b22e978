"""Goldens, traffic and drift out of a log of requests, by releases whose clients have ids of their own."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export import logged, rungs
from export.artifacts import GOLDEN_FILE, Source
from export.log_drift import report
from export.logged_goldens import publish_with_log
from export.repository import publish
from loadtest.scenario import Scenario
from recserve.cli import main
from serving import golden, manifest, releases
from serving.histories.examples import example_of
from serving.in_process import InProcessModel
from serving.watch import records
from serving.watch.pseudonyms import KEY_FILE
from serving.watch.reference import Reference
from serving.watch.request_log import LogOptions, RequestLog
from tests.export.brought import ENDS, Brought
from tests.export.mapped import ASKER, ITEMS, NAMES, SCORES, SKUS, example
from tests.serving.watch.counted import MetricFamily, counting
from training.servable import Servable, servable

NAME = "shop"
STRANGER, NO_ITEM = "nobody we know", 17
USERS = ("anna", "1", STRANGER, " 1")
Requests = Sequence[Mapping[str, Any]]


def model(seed: int) -> Servable:
    """Scores of ragged candidates for a user, both by raw ids that the graph maps."""

    def forward(self: Any, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Tensor:
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
        users = self.users(user_id).repeat_interleave(counts, dim=-2, output_size=candidates.shape[0])
        return (users * self.items(candidates)).sum(-1)

    torch.manual_seed(seed)
    tables = {"users": nn.Embedding(10, 4), "items": nn.Embedding(10, 4)}
    inputs = [replace(ASKER, name="user_id"), ITEMS, ENDS]
    return servable(
        name=NAME,
        module=Brought(forward, **tables),
        inputs=inputs,
        outputs=[SCORES],
        example=example,
        max_batch_size=32,
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases of unlike weights."""
    folder = tmp_path_factory.mktemp("published") / "models"
    for seed in (3, 5):
        publish(folder, [model(seed)], Source(kind="factory", name="a test"))
    return folder


@pytest.fixture
def both(published: Path, tmp_path: Path) -> Path:
    """A copy of the two."""
    return Path(shutil.copytree(published, tmp_path / "models"))


@pytest.fixture
def first(both: Path) -> Path:
    """The first alone."""
    shutil.rmtree(both / NAME / "2")
    return both


def asked(number: int) -> list[dict[str, np.ndarray]]:
    """Requests of users in turn, one of four a stranger, with 1 to 5 candidates, of which the first is unknown."""
    items = SKUS.ids.tolist()
    return [
        {
            "user_id": np.array([[USERS[one % 4]]], object),
            "candidates": np.array([[NO_ITEM, *(items[(one + k) % 9] for k in range(one % 5))]], np.int64),
        }
        for one in range(number)
    ]


def log_of(
    repository: Path,
    folder: Path,
    requests: Requests,
    ids: Any = "hashed",
    name: str = NAME,
    version: str = "1",
    said: str = "",
) -> Path:
    """The log of a server that answered these with a version, and `said` that it was another."""
    options = LogOptions(folder=folder, rate=1.0, ids=ids)
    options.prepare()
    direct = InProcessModel.open(repository / name, version=version)
    with counting() as prometheus:
        # A log drops what its thread cannot keep up with: no more at a time than may wait.
        for start in range(0, len(requests), 100):
            log = RequestLog(prometheus, name, said or version, options, pytest.fail)
            for one in requests[start : start + 100]:
                log.add(one, direct.run([dict(one)])[0])
            log.close()
    assert not any(count for key, count in MetricFamily.told.items() if key[-1] in ("dropped", "failed"))
    direct.close()
    return folder


def silent(line: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("ids", ["hashed", "raw"])
def test_a_release_is_published_again_with_goldens_of_the_log(first: Path, tmp_path: Path, ids: str) -> None:
    log = log_of(first, tmp_path / "log", asked(40), ids)
    made = publish_with_log(first, NAME, 1, log, 8, silent)
    assert (made.version, made.added, made.compared) == (2, 8, 8)
    assert releases.standing(first, NAME).served == 1
    for version in (1, 2):
        manifest.verify(first / NAME / str(version))
    own, more = (golden.read(first / NAME / one / GOLDEN_FILE) for one in ("1", "2"))
    assert (len(own), len(more)) == (16, 24)
    added = more[16:]
    # The release knows them by their own names again; what it does not know has none.
    users = {one.inputs["user_id"].item() for one in added}
    assert users & {*NAMES.ids.tolist()} == {*USERS} - {STRANGER}
    direct = InProcessModel.open(first / NAME, version="2")
    assert all(golden.compare(one.outputs, direct.run([one.inputs])[0], 0.0).ok for one in added)
    direct.close()


def test_every_rung_in_process_holds_for_the_new_release(first: Path, tmp_path: Path) -> None:
    publish_with_log(first, NAME, 1, log_of(first, tmp_path / "log", asked(20)), 8, silent)
    releases.change(first, NAME, lambda now: now.at(2, "promoted"))
    opened = rungs.opened(first / NAME, "cpu")
    assert len(opened.goldens) == 24
    assert opened.direct is not None
    assert rungs.exported(opened, opened.direct).ok


def test_an_answer_that_the_release_does_not_give_is_refused_and_nothing_is_published(
    both: Path, tmp_path: Path
) -> None:
    log = log_of(both, tmp_path / "log", asked(20), version="2", said="1")
    with pytest.raises(ValueError, match=r"request 0 of the log, as it was answered and here, differs by .* 'scores'"):
        publish_with_log(both, NAME, 1, log, 4, silent)
    assert releases.numbers(both, NAME) == [1, 2]
    assert not [*tmp_path.glob(".models.staging")]


def test_a_reference_of_the_log_is_of_the_scores_that_were_answered(first: Path, tmp_path: Path) -> None:
    log = log_of(first, tmp_path / "log", asked(100))
    made = publish_with_log(first, NAME, 1, log, 4, silent)
    assert made.reference == Reference.read(first / NAME / "2")
    assert made.reference is not None
    logged_scores = sum(one.outputs["scores"].size for one in logged.read(log, NAME))
    assert (made.reference.source, made.reference.requests) == ("log", 100)
    assert sum(made.reference.scores.counts) == logged_scores
    assert made.reference.unknown == {"user_id": 0.25, "candidates": 100 / logged_scores}
    before = Reference.read(first / NAME / "1")
    assert before is not None
    assert (before.source, before.requests) == ("example", 128)


def test_a_release_of_other_weights_computes_the_scores_of_its_reference_itself(both: Path, tmp_path: Path) -> None:
    log = log_of(both, tmp_path / "log", asked(60))
    made = publish_with_log(both, NAME, 2, log, 4, silent)
    assert (made.version, made.compared) == (3, 0)
    again = log_of(both, tmp_path / "again", asked(60), version="2")
    expected = publish_with_log(both, NAME, 2, again, 4, silent)
    assert made.reference is not None
    assert made.reference == expected.reference


def test_without_the_key_nobody_is_recognised(first: Path, tmp_path: Path) -> None:
    log = log_of(first, tmp_path / "log", asked(20))
    (log / KEY_FILE).unlink()
    for use in (
        lambda: publish_with_log(first, NAME, 1, log, 4, silent),
        lambda: Scenario(NAME, log).requests(first, 0),
    ):
        with pytest.raises(ValueError, match=r"names users by hashes, and has no users\.key: run this on the server"):
            use()
    found = report(first, NAME, 1, log)
    assert "user_id" not in found.unknown
    assert found.users == 4


def test_drift_is_small_for_the_reference_s_own_traffic_and_large_for_other(first: Path, tmp_path: Path) -> None:
    log = log_of(first, tmp_path / "log", asked(300))
    publish_with_log(first, NAME, 1, log, 4, silent)
    same = log_of(first, tmp_path / "same", asked(300), version="2")
    found = report(first, NAME, 2, same)
    assert found.scores.drift == pytest.approx(0, abs=1e-9)
    assert found.sizes.drift == pytest.approx(0, abs=1e-9)
    assert found.unknown == found.reference_unknown
    assert (found.requests, found.users, found.source, found.not_finite) == (300, 4, "log", 0)
    only = [one for one in asked(300) if one["user_id"].item() == "anna"]
    moved = report(first, NAME, 2, log_of(first, tmp_path / "moved", only, version="2"))
    assert moved.scores.drift > 0.25
    assert moved.unknown["user_id"] == 0


def test_drift_of_what_the_log_does_not_have_is_refused_by_name(first: Path, tmp_path: Path) -> None:
    log = log_of(first, tmp_path / "log", asked(5))
    publish_with_log(first, NAME, 1, log, 4, silent)
    with pytest.raises(ValueError, match=r"has no answer of shop 2; it has those of versions \[1\]"):
        report(first, NAME, 2, log)
    with pytest.raises(ValueError, match="holds no request to 'other'"):
        records.places(log, "other")


def test_a_load_asks_what_was_asked(first: Path, tmp_path: Path) -> None:
    log = log_of(first, tmp_path / "log", asked(24))
    scenario = Scenario(NAME, log)
    for own, sent in zip(asked(24), scenario.requests(first, 0), strict=True):
        assert np.array_equal(own["candidates"], sent["candidates"])
        user = own["user_id"].item()
        assert sent["user_id"].item() == user if user != STRANGER else sent["user_id"].item() not in NAMES.ids
    assert "requests of a log" in scenario.distribution(first)


def test_goldens_of_a_model_that_reads_histories_are_of_users_of_golden_requests(broken: Path, tmp_path: Path) -> None:
    requests = [
        {"user_id": np.array([[user]]), "candidates": np.arange(1, 4 + user % 20)[None]}
        for user in (*range(1, 12), 10**9)
    ]
    log = log_of(broken, tmp_path / "log", requests, name="lrea")
    made = publish_with_log(broken, "lrea", 1, log, 12, silent)
    assert (made.added, made.compared) == (12, 0)
    added = golden.read(broken / "lrea" / "2" / GOLDEN_FILE)[16:]
    assert [example_of(one.inputs["user_id"].item()) for one in added] == [*range(1, 12), 0]
    for model in releases.models_of(broken, "lrea", 2):
        manifest.verify(broken / model / "2")
    releases.change(broken, "lrea", lambda now: now.at(2, "promoted"))
    opened = rungs.opened(broken / "lrea", "cpu")
    assert rungs.trained(opened).ok
    assert opened.direct is not None
    assert rungs.exported(opened, opened.direct).ok
    direct = InProcessModel.open(broken / "lrea", version="1")
    for one, request in zip(added, requests, strict=True):
        assert golden.compare(direct.run([request])[0], one.outputs, 0.0).ok, "nothing was pushed meanwhile"
    direct.close()


def test_the_commands_say_the_same_as_json(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = log_of(first, tmp_path / "log", asked(50))
    of = ["--repository", str(first), "--log", str(log)]
    picture = tmp_path / "drift.svg"
    assert main(["drift", NAME, *of, "--out", str(picture), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["requests"], said["version"], said["source"]) == (50, 1, "example")
    assert "stability index" in picture.read_text()
    assert main(["releases", "golden", NAME, *of, "--most", "5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "release": NAME,
        "version": 2,
        "of": 1,
        "goldens": 21,
        "added": 5,
        "compared": 5,
        "reference": 50,
    }
    assert main(["releases", "golden", NAME, *of, "--most", "0"]) == 2
    assert "--most is 0" in capsys.readouterr().err
