"""`recserve ask` against a running server: one question of each task, by the ids of a team's own tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve.cli import main
from recserve_client import Client, InvalidRequest
from serving.server import ServerOptions, TritonServer
from tests.recserve.refused_questions import REFUSED
from tests.recserve.releases import NUM_ITEMS, SKUS, everything, registered, with_others
from training import datasets
from training.asking import met_by

pytestmark = [pytest.mark.slow, pytest.mark.triton_server]
Captured = pytest.CaptureFixture[str]
USER = "anna3"


@pytest.fixture(scope="module", autouse=True)
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data sets plain and moment, in a cache of this file's own."""
    with registered(tmp_path_factory.mktemp("ask")) as root:
        yield root


@pytest.fixture(scope="module")
def server(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = with_others(everything(tmp_path_factory))
    with TritonServer(folder, ServerOptions(state=sets / "state", log=sets / "log")) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[Client]:
    with Client(server.url, deadline_s=30.0) as one:
        yield one


@pytest.fixture
def ask(server: TritonServer, capsys: Captured) -> Any:
    """Words -> the answers as JSON."""

    def asked(*words: object) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["ask", *map(str, words), "--url", server.url, "--deadline-s", "30", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["answers"]

    return asked


def request(*items: int, user: str = USER, **moment: object) -> dict[str, Any]:
    return {"user_id": [[user]], "candidates": [list(items)]} | {name: [[value]] for name, value in moment.items()}


def test_all_that_is_new_to_the_user_is_ranked_by_the_served_scores(ask: Any, client: Client) -> None:
    (answer,) = ask("deepfm", "--user", USER, "--top", NUM_ITEMS)
    data = datasets.read("plain")
    met = {data.raw("item", item) for item in met_by(data.events, data.dense("user", USER)).tolist()}
    items = [row["item"] for row in answer["rows"]]
    assert set(items) == set(SKUS) - met
    assert met
    scores = [row["score"] for row in answer["rows"]]
    assert scores == sorted(scores, reverse=True)
    np.testing.assert_allclose(client.infer("deepfm", request(*items))["scores"][0], scores, atol=1e-6)
    assert [row["title"] for row in answer["rows"]] == [data.titles[data.dense("item", item)] for item in items]
    assert [row[""] for row in answer["rows"]] == list(range(1, len(items) + 1))
    assert answer["lines"][0].startswith(f"user {USER} (plain) lately liked: A thing with a title")


def test_named_candidates_are_ranked_among_them_an_unknown_one_and_one_that_the_user_has_met(ask: Any) -> None:
    data = datasets.read("plain")
    met = data.raw("item", int(met_by(data.events, data.dense("user", USER))[-1]))
    (answer,) = ask("deepfm", "--user", USER, "--candidates", met, SKUS[5], 5)
    assert {row["item"]: row["title"] for row in answer["rows"]} == {
        item: data.titles[data.dense("item", item)] for item in (met, SKUS[5], 5)
    }
    assert answer["rows"][[row["item"] for row in answer["rows"]].index(5)]["title"] == "unknown"
    assert answer["title"] == "best of 3 candidates"


def test_a_user_whom_nobody_knows_is_told_and_answered(ask: Any) -> None:
    (answer,) = ask("deepfm", "--user", "nobody", "--top", NUM_ITEMS)
    assert answer["lines"] == ["user nobody (plain), whom it does not know, lately liked: nothing yet"]
    assert len(answer["rows"]) == NUM_ITEMS


def test_the_fields_of_user_and_items_explain_a_model_that_knows_no_more(ask: Any) -> None:
    answer, why = ask("deepfm", "--user", USER, "--top", 3, "--explain")
    assert why["lines"] == ["user: country=c0"]
    places = [SKUS.index(row["item"]) for row in answer["rows"]]
    assert [row["fields"] for row in why["rows"]] == [f"brand=brand {place % 7}" for place in places]


def test_who_is_unknown_or_without_fields_is_told_in_words(ask: Any) -> None:
    _, why = ask("deepfm", "--user", "nobody", "--candidates", 5, SKUS[1], "--explain")
    assert why["title"] == "what plain has of the items"
    assert why["lines"] == ["user: not known to plain"]
    assert {row["fields"] for row in why["rows"]} == {"not known to plain", "brand=brand 1"}
    *_, bare = ask("dkt", "--student", 10**9, "--candidates", 5, "--explain")
    assert bare["lines"] == ["user: not known to simulated-students"]


def test_what_is_set_reaches_the_model_and_what_is_not_is_missing(ask: Any, client: Client) -> None:
    items = SKUS[:4]
    for words, moment in (
        (("--set", "page=home", "hour=3"), {"page": "home", "hour": 3}),
        (("--set", "page=home"), {"page": "home", "hour": -1}),
        ((), {"page": "", "hour": -1}),
        (("--set", "page=attic", "hour=24"), {"page": "", "hour": -1}),
    ):
        (answer,) = ask("fm", "--user", USER, "--candidates", *items, *words)
        scores = {row["item"]: row["score"] for row in answer["rows"]}
        expected = client.infer("fm", request(*items, **moment))["scores"][0]
        np.testing.assert_allclose([scores[item] for item in items], expected, atol=1e-6)
    midnight = client.infer("fm", request(*items, page="", hour=0))["scores"][0]
    assert np.abs(midnight - expected).min() > 1e-4, "an hour of 0 is midnight, and not a missing one"


def test_a_release_without_the_part_that_explains_says_so_below_its_answer(ask: Any) -> None:
    answer, why, fields = ask("silent", "--user", USER, "--top", 3, "--explain")
    assert answer["rows"] == ask("deepfm", "--user", USER, "--top", 3)[0]["rows"]
    assert why["lines"][0].startswith("no reasons of its own: ")
    assert "'silent_history'" in why["lines"][0]
    assert len(fields["rows"]) >= 3


def test_the_paths_of_matt_explain_its_answer_from_the_served_parts(ask: Any) -> None:
    words = ("shop", "--user", USER, "--top", 5, "--set", "request_key=7", "--explain")
    answer, *why = ask(*words)
    assert len(why) == 3
    for row, one in zip(answer["rows"], why, strict=False):
        score, spread = row["score"], row["spread"]
        assert one["title"] == f"paths of {row['title']} (item {row['item']}): score {score:.4f}, spread {spread:.4f}"
        share, scores = (np.array([path[name] for path in one["rows"]]) for name in ("share", "score"))
        assert share.sum() == pytest.approx(1, abs=1e-5)
        assert share @ scores == pytest.approx(score, abs=1e-5)
        assert np.sqrt(share @ (scores - score) ** 2) == pytest.approx(spread, abs=1e-4)
        assert [path["path"] for path in one["rows"]] == ["full", 1, 2, 3]
        kept = [path["kept fields"].split(", ") for path in one["rows"]]
        assert kept[0] == ["user_id", "country", "item_id", "brand"]
        assert all({"user_id", "item_id"} < set(path) < set(kept[0]) for path in kept[1:])
    assert ask(*words) == [answer, *why]
    assert ask(*words[:5], "--set", "request_key=8", "--explain")[0] != answer


def test_next_items_of_a_user_and_of_a_history_are_the_served_ones(ask: Any, client: Client) -> None:
    data = datasets.read("plain")
    history = data.raws("item", met_by(data.positives, data.dense("user", USER)))
    listed = client.infer("reg4rec", {"history": [history], "theta": np.array([[0.5]], np.float32)})
    (answer,) = ask("reg4rec", "--user", USER, "--set", "theta=0.5", "--top", 50)
    assert [row["item"] for row in answer["rows"]] == [item for item in listed["items"][0].tolist() if item in SKUS]
    assert answer["rows"]
    assert answer["lines"][0].startswith(f"user {USER} (plain) chose {len(history)} items, lately: ")
    answer, why = ask("reg4rec", "--history", SKUS[0], 7, SKUS[2], "--explain")
    assert answer["lines"][1] == "1 item of the history is not known to plain"
    assert answer["lines"][0].startswith("history of 3 items (plain), newest first: A thing")
    assert [row["item"] for row in why["rows"]] == [row["item"] for row in answer["rows"]]
    assert set(why["rows"][0]) == {"item", "path (codebook:word)", "categories"}
    answer, why = ask("reg4rec", "--history", SKUS[0], 7, SKUS[2], "--explain", "--top", 2)
    assert [row["item"] for row in why["rows"]] == [row["item"] for row in answer["rows"]]
    assert len(why["rows"]) == 2


def test_a_service_gets_the_same_answers_by_plain_ids(ask: Any, client: Client) -> None:
    (answer,) = ask("fm", "--user", USER, "--candidates", *SKUS[:5], "--set", "page=home", "hour=3")
    ranked = client.rank(USER, SKUS[:5], model="fm", dataset="moment", context={"page": "home", "hour": 3})
    assert list(ranked.items) == [row["item"] for row in answer["rows"]]
    history, theta = [SKUS[3], 7, SKUS[9]], np.array([[0.5]], np.float32)
    for model, named, context in (
        ("reg4rec", {}, {"theta": theta}),
        ("two_tower", {"user_id": [[USER]]}, {}),
    ):
        answer = client.infer(model, {"history": [history], **named, **context})
        pairs = zip(answer["scores"][0].tolist(), answer["items"][0].tolist(), strict=True)
        best = sorted((pair for pair in pairs if pair[1] in SKUS), key=lambda pair: -pair[0])[:5]
        user = USER if named else None
        listed = client.generate(history, user=user, model=model, k=5, context={name: 0.5 for name in context})
        assert list(zip(listed.scores, listed.items, strict=True)) == best != []
    with pytest.raises(InvalidRequest, match=r"also takes page \(BYTES \[1\]\), hour \(INT64 \[1\]\)"):
        client.rank(USER, SKUS[:5], model="fm")


def test_retrieved_items_are_ranked_for_the_user(ask: Any, client: Client) -> None:
    data = datasets.read("plain")
    met = {*data.raws("item", met_by(data.events, data.dense("user", USER)))}
    (answer,) = ask("retrieve_then_rank", "--user", USER)
    items, scores = ([row[name] for row in answer["rows"]] for name in ("item", "score"))
    assert len(items) == 10 == len({*items} - met)
    expected = client.infer("deepfm", request(*items, user=USER))["scores"][0]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    listed = client.generate(user=USER, model="retrieve_then_rank", k=10)
    _, why, fields = ask("retrieve_then_rank", "--user", USER, "--top", 3, "--explain")
    assert "for reasons ask a model: recserve ask" in why["lines"][0]
    assert len(fields["rows"]) == 3
    assert [*listed.items] == items
    brand, few = "brand 3", f"{items[0]},{items[1]}"
    (narrowed,) = ask("retrieve_then_rank", "--user", USER, "--set", f"only_brand={brand}", "k=4", f"excluded={few}")
    kept = [row["item"] for row in narrowed["rows"]]
    assert len(kept) == 4
    assert {_brand(one) for one in kept} == {brand}
    assert not {*items[:2]} & {*kept}


def _brand(sku: object) -> str:
    return f"brand {[*map(str, SKUS)].index(str(sku)) % 7}"


def test_semantic_ids_of_an_item_come_from_its_content(ask: Any, client: Client) -> None:
    answer, why = ask("rqvae", "--candidates", SKUS[40], "--explain")
    content = datasets.read("plain").content
    found = client.infer("rqvae", {"text": content.text[41:42], "graph": content.graph[41:42]})
    assert [row["id"] for row in answer["rows"]] == found["sids"][0].tolist()
    assert [row["weights"] for row in answer["rows"]] == found["weights"][0].tolist()
    assert answer["lines"][0].startswith(f"item {SKUS[40]} (plain): A thing with a title")
    assert why["rows"] == [{"": 1, "fields": "brand=brand 5"}]


def test_items_are_retrieved_for_a_user_and_for_a_history(ask: Any) -> None:
    (answer,) = ask("two_tower", "--user", USER, "--top", NUM_ITEMS)
    assert {row["item"] for row in answer["rows"]} <= set(SKUS)
    (other,) = ask("two_tower", "--history", *SKUS[:3])
    assert not {row["item"] for row in other["rows"]} & set(SKUS[:3])


def test_questions_are_listed_by_the_probability_of_a_right_answer(ask: Any) -> None:
    answer, _mastery = ask("dkt", "--student", 3, "--candidates", 5, 9, 200)
    probabilities = [row["probability"] for row in answer["rows"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {row["item"] for row in answer["rows"]} == {5, 9, 200}


@pytest.mark.parametrize(
    "words",
    [
        ("deepfm", "--user", USER),
        ("deepfm", "--user", USER, "--explain"),
        ("shop", "--user", USER, "--explain"),
        ("reg4rec", "--user", USER, "--explain"),
        ("retrieve_then_rank", "--user", USER),
        ("rqvae", "--candidates", str(SKUS[2]), "--explain"),
        ("two_tower", "--user", USER),
        ("dkt", "--user", "3", "--explain"),
    ],
)
def test_an_answer_fits_into_80_columns_and_shortens_no_number(
    server: TritonServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    assert main(["ask", *words, "--url", server.url, "--deadline-s", "30"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert words[0] == "dkt" or any(f" {sku} " in printed for sku in SKUS)


@pytest.mark.parametrize(("words", "said"), REFUSED)
def test_what_cannot_be_asked_is_refused_in_one_line(
    server: TritonServer, capsys: Captured, words: str, said: str
) -> None:
    capsys.readouterr()
    assert main(["ask", *words.split(), "--url", server.url, "--deadline-s", "30"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert said in printed.err


def test_a_data_set_that_is_gone_is_named(server: TritonServer, capsys: Captured, sets: Path) -> None:
    assert main(["data", "remove", "moment"]) == 0
    try:
        capsys.readouterr()
        assert main(["ask", "fm", "--user", USER, "--url", server.url]) == 2
        assert "no data set is called 'moment'; there are: " in capsys.readouterr().err
    finally:
        assert main(["data", "add", str(sets / "moment")]) == 0
