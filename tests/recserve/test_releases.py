"""`recserve releases list|promote|rollback|prune` where no server runs, and the quality gate."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from export.artifacts import Measured
from export.user_events import add_user_events
from recserve.cli import main
from serving import golden, releases
from serving.configs import read_file
from serving.state.builder import stamps
from serving.state.record import Key
from serving.state.states import Entry, Lookup
from serving.state.store import StateStore
from tests.sealing import reseal
from training.data.planted_clicks import planted_clicks
from training.fingerprint import Fingerprint

MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")
NOBODY = "127.0.0.1:9"
DATA = json.loads(json.dumps(asdict(Fingerprint.of(planted_clicks()))))
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    """LREA in versions 1 to 3, of runs of which the second is the worst."""
    copied = Path(shutil.copytree(repository, tmp_path / "live"))
    for version, auc in ((1, 0.7), (2, 0.6), (3, 0.7)):
        for model in MODELS:
            if version > 1:
                shutil.copytree(copied / model / "1", copied / model / str(version))
            record(copied / model / str(version), measured(f"runs/lrea/s{version}", auc))
    return reseal(copied)


def measured(run: str, auc: float, **other: Any) -> Measured:
    test = {"auc": auc, "gauc": 0.65, "log_loss": 1 - auc, "auc page=home": 0.5}
    facts = {"system": "lrea", "dataset": "planted-clicks", "until": None, "data": DATA, "test": test}
    return Measured(**{"run": run, **facts, **other})


def record(version: Path, *runs: Measured) -> None:
    path = version / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "measured": [asdict(one) for one in runs]}))


def said(capsys: Captured, live: Path, *words: str, code: int = 0) -> str:
    """What a command says to a person, in one line."""
    capsys.readouterr()
    url = [] if words[0] == "list" else ["--url", NOBODY]
    assert main(["releases", *words, "--repository", str(live), *url]) == code
    printed = capsys.readouterr()
    assert (printed.err == "") == (code != 2)
    return " ".join((printed.out + printed.err).split())


def value(capsys: Captured, live: Path, *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["releases", *words, "--repository", str(live), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_releases_are_listed_with_what_is_served_for_people_and_programs(live: Path, capsys: Captured) -> None:
    add_user_events(live)  # which is no release
    said(capsys, live, "promote", "lrea@2")
    found = value(capsys, live, "list")
    assert [(one["version"], one["mark"]) for one in found] == [(3, "before"), (2, "served"), (1, "")]
    newest = found[0]
    assert newest["models"] == [*MODELS]
    assert (newest["system"], newest["dataset"], newest["runs"]) == ("lrea", "planted-clicks", ["runs/lrea/s3"])
    assert newest["test"]["lrea"]["gauc"] == 0.65
    assert newest["bytes"] > 0
    assert main(["releases", "list", "--repository", str(live)]) == 0
    printed = capsys.readouterr().out
    assert "lrea (system lrea, dataset planted-clicks)" in printed
    assert "0.7000" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_release_that_is_worse_is_refused_with_both_figures_and_an_equal_one_passes(
    live: Path, capsys: Captured
) -> None:
    said(capsys, live, "promote", "lrea@1")
    before = (live / "releases.json").read_bytes()
    text = said(capsys, live, "promote", "lrea@2", "--not-worse-than", "served", code=1)
    assert "refused: lrea 2 is worse than lrea 1: AUC 0.6000 against 0.7000; nothing was changed" in text
    text = said(capsys, live, "promote", "lrea@2", "--not-worse-than", "served", "--by", "log_loss", code=1)
    assert "log loss 0.4000 against 0.3000" in text, "where less is better"
    assert (live / "releases.json").read_bytes() == before
    refused = value(capsys, live, "promote", "lrea@2", "--not-worse-than", "1", "--by", "auc", code=1)
    assert refused["figures"][0] | {"title": ""} == {
        "title": "",
        "metric": "auc",
        "direction": "max",
        "own": 0.6,
        "other": 0.7,
        "ok": False,
    }
    for words in (("--not-worse-than", "served"), ("--not-worse-than", "2", "--by", "auc")):
        assert "lrea 3 is served" in said(capsys, live, "promote", "lrea@3", *words)
        said(capsys, live, "rollback", "lrea")
    assert "lrea 2 is served" in said(capsys, live, "promote", "lrea@2", "--not-worse-than", "served", "--by", "gauc")


@pytest.mark.parametrize(
    ("runs", "by", "text"),
    [
        ([], "auc", "lrea 1 has no recorded metrics: it is of no run, or was published before they were recorded"),
        ([measured("a", 0.7)], "depth", "--by depth: no metric of lrea that has a better side; there are auc, gauc,"),
        ([measured("a", 0.7, test={})], "auc", "--by auc: the other release has no such metric on its test part"),
        ([measured("a", 0.7, dataset="shop")], None, "s2 was measured on planted-clicks, a on shop: their figures do"),
        ([measured("a", 0.7, system="din")], None, "the other release has no run of lrea; leave --not-worse-than out"),
        (
            [measured("no/run", 0.7, data={**DATA, "events": [7, "0123"]})],
            None,
            "no/run was measured on another test part of planted-clicks than runs/lrea/s2, and cannot be measured "
            "again: no/run holds no run",
        ),
    ],
)
def test_figures_that_do_not_compare_are_an_error_which_says_why(
    live: Path, capsys: Captured, runs: list[Measured], by: str | None, text: str
) -> None:
    record(live / "lrea" / "1", *runs)
    words = ["promote", "lrea@2", "--not-worse-than", "1", *(["--by", by] if by else [])]
    assert text in said(capsys, live, *words, code=2)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("promote lrea_scorer", "has no release 'lrea_scorer'; it has lrea"),
        ("promote lrea@9", "has no lrea 9; it has 1, 2, 3"),
        ("promote lrea@new", "'lrea@new': behind the @ comes the number of a version"),
        ("promote lrea --by auc", "--by auc: than what? Say --not-worse-than served, or a version"),
        ("promote lrea --not-worse-than best", "--not-worse-than best: say served, or the number of a version"),
        ("prune --keep 0", "--keep is 0; at least 1 release of each name stays"),
    ],
)
def test_an_error_of_use_says_what_there_is(live: Path, capsys: Captured, words: str, text: str) -> None:
    assert text in said(capsys, live, *words.split(), code=2)
    assert not (live / "releases.json").exists()


def test_roll_backs_go_back_one_by_one_and_name_what_never_was_before(live: Path, capsys: Captured) -> None:
    assert "lrea 2 is served" in said(capsys, live, "rollback", "lrea")
    assert "lrea 3 was not served before 2; that were 1" in said(capsys, live, "rollback", "lrea@3", code=2)
    assert "lrea 1 is served" in said(capsys, live, "rollback", "lrea")
    assert "lrea 1 is served, and nothing was before it" in said(capsys, live, "rollback", "lrea", code=2)
    assert [read_file(path).version_policy.specific.versions for path in live.glob("*/config.pbtxt")] == [[1]] * 4


def test_a_release_that_answers_wrongly_is_refused_where_no_server_can_tell(live: Path, capsys: Captured) -> None:
    said(capsys, live, "promote", "lrea@1")
    before = (live / "releases.json").read_bytes()
    path = live / "lrea" / "2" / "golden.safetensors"
    asked = golden.read(path)
    golden.write(path, [replace(one, outputs={"scores": one.outputs["scores"] + 1}) for one in asked])
    reseal(live)
    assert main(["releases", "promote", "lrea@2", "--repository", str(live), "--url", NOBODY]) == 1
    assert "lrea 2 is refused, nothing is changed: golden request 0 is off by 1" in capsys.readouterr().err
    assert (live / "releases.json").read_bytes() == before


def test_old_releases_go_with_their_states_and_a_dry_run_says_which(live: Path, capsys: Captured) -> None:
    store = live.with_name("live.state")
    (shared,) = {*stamps(live / "lrea_state").values()}
    description = live / "lrea_state" / "1" / "state.json"
    description.write_text(description.read_text().replace(str(shared), str(shared - 1)))
    reseal(live)
    lookups = [Lookup(Key("lrea_state", stamp, 7), b"digest00") for stamp in (shared, shared - 1)]
    with StateStore(store) as one:
        one.put_many([Entry(lookup, {}) for lookup in lookups])
    said(capsys, live, "promote", "lrea@2")
    dry = value(capsys, live, "prune", "--keep", "1", "--dry-run", "--url", NOBODY)
    assert [one["version"] for one in dry["removed"]] == [1] * len(MODELS)
    assert releases.numbers(live, "lrea") == [1, 2, 3]
    done = value(capsys, live, "prune", "--keep", "1", "--url", NOBODY)
    assert (done["removed"], done["bytes"]) == (dry["removed"], dry["bytes"])
    assert done["states"] == 1
    assert releases.numbers(live, "lrea") == [2, 3]
    with StateStore(store) as one:
        assert set(one.stat().entries) == {("lrea_state", shared)}, "two versions that stay have these weights"
