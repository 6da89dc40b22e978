"""The ways of the length benchmark answer right, and its schedule and judgement do what they say."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from export.verify import run_session
from loadtest.latency import Percentiles
from recserve.studies.lrea_length import bench, checks, lab, models
from recserve.studies.lrea_length.bench import Bar
from recserve.studies.lrea_length.command import LreaLength
from recserve.studies.lrea_length.lab import Case, Lab
from recserve.studies.lrea_length.measure import Timing, interleaved, repetitions_of, schedule
from recserve.studies.lrea_length.models import ITEMS, RAW, Models
from recserve.studies.lrea_length.plot import draw
from recserve.studies.lrea_length.raw import CHUNK, Din, Softmax
from recserve.studies.lrea_length.state import with_event
from training.data.click import now
from training.layers.prestored import histories_of
from training.servable import Packed

LENGTH = 48


@pytest.fixture(scope="module")
def built() -> Models:
    return models.build(LENGTH)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All ways published, and a server."""
    with lab.opened([LENGTH], tmp_path_factory.mktemp("lab"), lambda line: None) as found:
        yield found


def history_of(built: Models, user: int, length: int) -> Packed:
    """Items, values, length and profile [1, ...] of one user, cut to `length` events."""
    stored = histories_of(built.data)
    names = ("history_items", "history_values", "history_length", "profile")
    items, values, _, profile = (torch.from_numpy(stored[name][user : user + 1]) for name in names)
    return items, values, torch.tensor([[length]]), profile


def candidates_of(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(1, ITEMS + 1, (1, count)))


def test_din_scores_like_the_trained_baseline(built: Models) -> None:
    module = built.raw[0].module
    assert isinstance(module, Din)
    ids = candidates_of(CHUNK + 5)[0]
    history = history_of(built, user=1, length=LENGTH - 9)
    # What serving calls row 1 is the user 2.
    batch = now(built.data, 2, ids.numpy())._replace(history_length=torch.full((len(ids),), LENGTH - 9))
    with torch.no_grad():
        expected = torch.sigmoid(module.network(batch))
    (scores,) = built.raw[0].eager(ids[None], *history)
    torch.testing.assert_close(scores[0], expected, rtol=0, atol=1e-6)


def test_softmax_attention_is_that_of_pytorch(built: Models) -> None:
    module = built.raw[1].module
    assert isinstance(module, Softmax)
    query = torch.randn(3, 64)
    events, mask = torch.randn(1, LENGTH, 64), (torch.arange(LENGTH) < 20).float()[None]
    with torch.no_grad():
        found = module.attender(events, mask)(query)
        queries, keys, values = (
            part.unflatten(2, (2, 32)).transpose(1, 2)
            for part in (query[None], module.model.key(events[:, :20]), module.model.value(events[:, :20]))
        )
        expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2)[0])


def test_lrea_from_the_history_equals_the_prestored_scorer(built: Models) -> None:
    encoder, scorer, *_ = built.stored
    for length in (0, 1, LENGTH):
        history, ids = history_of(built, user=2, length=length), candidates_of(40)
        (absorbed,) = scorer.eager(ids[0], torch.tensor([40], dtype=torch.int32), *encoder.eager(*history))
        (unabsorbed,) = built.raw[2].eager(ids, *history)
        torch.testing.assert_close(unabsorbed[0], absorbed, rtol=0, atol=1e-6)


@pytest.mark.long
@pytest.mark.triton_server
@pytest.mark.parametrize("way", RAW[:1])
def test_a_graph_in_chunks_answers_any_number_of_candidates(built: Models, opened: Lab, way: str) -> None:
    servable = built.raw[RAW.index(way)]
    session = opened.direct[models.name_of(way, LENGTH)].session
    for count, length in ((1, LENGTH), (CHUNK, 7), (CHUNK + 1, 0), (5 * CHUNK - 1, LENGTH)):
        request = (candidates_of(count), *history_of(built, user=0, length=length))
        scores = run_session(session, servable, request)["scores"]
        np.testing.assert_allclose(scores, servable.eager(*request)[0].numpy(), rtol=0, atol=1e-5)


def test_weights_are_equal_at_all_lengths_but_for_the_matrices_of_the_length(built: Models) -> None:
    other = models.build(LENGTH + 1).raw[0].module.state_dict()
    own = built.raw[0].module.state_dict()
    differing = {name for name, value in own.items() if not torch.equal(value, other[name])} if own else {"none"}
    assert {name.rsplit(".", 1)[1] for name in differing} == {"down", "up"}


def test_one_more_event_comes_first_and_pushes_the_oldest_out() -> None:
    history = {
        "history_items": np.array([[7, 8, 0]]),
        "history_values": np.array([[1, 2, 0]]),
        "history_length": np.array([[2]]),
        "profile": np.array([[1, 2, 3, 4]]),
    }
    once = with_event(history, 9)
    twice = with_event(once, 10)
    assert once["history_items"].tolist() == [[9, 7, 8]]
    assert twice["history_items"].tolist() == [[10, 9, 7]]
    assert twice["history_values"].tolist() == [[5, 5, 1]]
    assert twice["history_length"].tolist() == [[3]]
    assert twice["profile"] is history["profile"]


def test_cases_are_spread_over_the_run_in_bursts_and_changing_order() -> None:
    order = schedule({"slow": 2, "a": 200, "b": 200})
    numbers = {name: [number for case, part in order if case == name for number in part] for name in ("slow", "a", "b")}
    assert numbers == {"slow": [0, 1], "a": list(range(200)), "b": list(range(200))}
    cases = [case for case, _ in order]
    assert cases[: len(cases) // 2].count("slow") == 1
    assert abs(cases[: len(cases) // 2].count("a") - 10) <= 1
    fast = [case for case in cases if case != "slow"]
    assert {tuple(fast[place : place + 2]) for place in range(0, 40, 2)} >= {("a", "b"), ("b", "a")}


def test_repetitions_follow_the_cost() -> None:
    assert repetitions_of(cost_ms=1.0, most=1000) == 1000
    assert repetitions_of(cost_ms=100.0, most=1000) == 60
    assert repetitions_of(cost_ms=10_000.0, most=1000) == 5
    assert repetitions_of(cost_ms=10_000.0, most=2) == 2


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        pytest.param(3, [0, 1, 0, 1, 2], id="one by one"),
        pytest.param(100, [0, 1, *(n for k in range(0, 100, 10) for n in (k, *range(k, k + 10)))], id="in bursts"),
    ],
)
def test_calls_that_warm_up_are_not_counted(most: int, expected: list[int]) -> None:
    asked: list[int] = []
    ticks = itertools.count()
    calls = {"only": asked.append}
    timing = interleaved(calls, most, lambda done, total: None, clock=lambda: next(ticks) / 1024)["only"]
    assert asked == expected
    assert timing == Timing(Percentiles(1000 / 1024, 1000 / 1024, 1000 / 1024), most)


def test_bars_bound_from_their_own_side() -> None:
    assert Bar(1.1, 1.1, at_most=True).ok
    assert not Bar(1.11, 1.1, at_most=True).ok
    assert Bar(50.0, 50.0, at_most=False).ok
    assert not Bar(49.0, 50.0, at_most=False).ok


def test_a_wrong_way_stops_the_run_before_the_clock() -> None:
    worst: dict[str, float] = {}
    checks._note(worst, "served against direct", 5e-5, Case("absorbed", "server", 128))
    assert worst == {"served against direct": 5e-5}
    for gap in (2e-4, float("nan")):
        with pytest.raises(ValueError, match=r"absorbed \(server, 128 events\), served against direct"):
            checks._note(worst, "served against direct", gap, Case("absorbed", "server", 128))


@pytest.mark.triton_server
@pytest.mark.slow(70)
@pytest.mark.long
def test_the_whole_run(
    opened: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One length and few repetitions: the form of the result, its files, and that every read of a state was a hit."""
    result = bench.measured(opened, [LENGTH], 3)
    timed = {(row["way"], row["where"]) for row in result["rows"]}
    ways = {"din", "softmax", "unabsorbed", "absorbed", "fully_absorbed"}
    assert timed == {(way, where) for way in ways for where in ("direct", "server")} | {("ranker", "server")}
    assert all(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in result["rows"])
    (name,) = result["state_reads"]
    assert name == f"recserve_user_state_reads_total{{model=lrea_state_{LENGTH},outcome=hit}}"
    assert max(result["gaps"].values()) < checks.TOLERANCE
    (split,) = result["split"]
    parts = ("queue_us", "model_us", "rest_us")
    assert sum(split[part] for part in parts) == pytest.approx(split["whole_us"], abs=1)
    assert min(split.values()) >= 0
    assert result["ratios"].keys() == result["bars"].keys()

    monkeypatch.setattr("recserve.studies.lrea_length.command.run", lambda *_: result)
    code = LreaLength(output=tmp_path / "length.json", json=True).run()
    assert code == (0 if all(bar["ok"] for bar in result["bars"].values()) else 1)
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "length.json").read_text())
    assert "DIN-style attention" in (tmp_path / "length.svg").read_text()


def test_the_plot_draws_every_line(tmp_path: Path) -> None:
    rows = [
        {"way": way, "where": where, "length": length, "p50_ms": place + length / 100}
        for place, (way, where) in enumerate([("din", "direct"), ("absorbed", "direct"), ("absorbed", "server")], 1)
        for length in (128, 1024)
    ]
    sizes = {"dim": 64, "rank": 32, "hidden": [200, 80]}
    draw({"rows": rows, "candidates": 1000, "sizes": sizes, "hardware": {"cpu": "some CPU"}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="--lengths"):
        LreaLength(lengths=(128, 128))
    with pytest.raises(ValueError, match="--lengths"):
        LreaLength(lengths=(16, 128))
    with pytest.raises(ValueError, match="--repetitions"):
        LreaLength(repetitions=0)
