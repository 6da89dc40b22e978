"""Sessions as JSON lines: those that OTTO publishes where they are at hand, and some that are made up."""

import json
import os
from pathlib import Path

import pytest

from recserve.cli import main
from training.data.folder import folder
from training.data.folder.build import inspect
from training.data.folder.template import propose
from training.data.retrieval import retrieval_view
from training.interactions import Interactions, silent
from training.system import PLAIN

TIME = 1_659_304_800_025


def event(article: int, after: int, kind: str = "clicks") -> dict[str, object]:
    return {"aid": article, "ts": TIME + after, "type": kind}


SESSIONS = [
    {"session": 40, "events": [event(7, 0), event(5, 10), event(7, 20, "carts"), event(7, 30, "orders"), event(7, 40)]},
    {"session": 30, "events": [event(9, 5, "carts"), event(5, 6), event(2, 7, "orders"), event(5, 8), event(8, 9)]},
    {"session": 50, "events": [event(number, number) for number in (1, 2, 3, 4)]},
]


def written(place: Path, sessions: list[dict[str, object]]) -> Path:
    place.mkdir(exist_ok=True)
    (place / "train.jsonl").write_text("\n".join(map(json.dumps, sessions)) + "\n")
    (place / "schema.toml").write_text(propose(place))
    return place


def raw(found: Interactions) -> list[tuple[object, ...]]:
    """Session, article, milliseconds since the first event, objectives."""
    rows = found.events.select("user", "item", "time", "clicks", "carts", "orders").rows()
    return [(found.raw("user", row[0]), found.raw("item", row[1]), row[2] - TIME, *row[3:]) for row in rows]


def test_a_session_has_each_article_once_at_its_first_event_with_the_farthest_step_it_came_to(tmp_path: Path) -> None:
    found = folder(written(tmp_path / "shop", SESSIONS)).read(None, silent)
    assert found.name == "shop"
    assert found.licence.startswith("CC BY 4.0, OTTO")
    assert raw(found)[:2] == [(40, 7, 0, 1, 1, 1), (40, 5, 10, 1, 0, 0)]
    assert raw(found)[2:6] == [(30, 9, 5, 1, 1, 0), (30, 5, 6, 1, 0, 0), (30, 2, 7, 1, 1, 1), (30, 8, 9, 1, 0, 0)]
    assert [field.name for field in found.schema.of("objective")] == ["clicks", "carts", "orders"]


def test_an_event_that_comes_late_in_the_file_counts_by_its_time(tmp_path: Path) -> None:
    late = [{"session": 40, "events": [event(7, 30, "carts"), event(5, 10), event(7, 20)]}, *SESSIONS[1:]]
    found = folder(written(tmp_path / "shop", late)).read(None, silent)
    assert (40, 7, 20, 1, 1, 0) in raw(found)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (
            {"session": 1, "events": [event(1, 0, "views")]},
            "column 'type', row 4: has an event with 'views'; write one of",
        ),
        ({"session": 1, "events": [{"ts": 1, "type": "clicks"}]}, "column 'aid', row 4: has an event with None"),
        ({"events": [event(1, 0)]}, "column 'session', row 4: has an event with None; write a whole number"),
    ],
)
def test_what_is_no_session_is_told_with_its_line(tmp_path: Path, bad: dict[str, object], told: str) -> None:
    found = inspect(written(tmp_path / "shop", [*SESSIONS, bad]), None, silent)
    assert found.interactions is None
    assert told in str(found.problems.errors[0])


def test_a_file_that_is_no_json_is_one_line(tmp_path: Path) -> None:
    place = written(tmp_path / "shop", SESSIONS)
    (place / "train.jsonl").write_text("session,aid\n1,2\n")
    (error,) = inspect(place, None, silent).problems.errors
    assert str(error).startswith("train.jsonl: cannot be read as JSON lines of sessions")


def test_the_published_sessions_are_proposed_added_and_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Path(os.environ.get("RECSERVE_DATA") or "/nowhere") / "otto_sample" / "train.jsonl"
    if "RECSERVE_DATA" not in os.environ:
        pytest.skip("RECSERVE_DATA does not say where otto_sample is")
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "otto"
    place.mkdir()
    (place / "train.jsonl").write_bytes(source.read_bytes())
    assert main(["data", "template", str(place)]) == 0
    assert main(["data", "add", str(place)]) == 0
    capsys.readouterr()
    assert main(["data", "describe", "otto", "--json"]) == 0
    assert "CC BY 4.0" in capsys.readouterr().out
    found = folder(place).read(None, silent)
    assert (len(found.events), len(found.users) - 1, len(found.items) - 1) == (527, 20, 510)
    flags = found.events.select("clicks", "carts", "orders").to_numpy()
    assert flags[:, 0].all()
    assert (flags[:, 1] >= flags[:, 2]).all()
    assert flags[:, 2].sum() == 10
    assert len(retrieval_view(found, PLAIN).test) == 12
