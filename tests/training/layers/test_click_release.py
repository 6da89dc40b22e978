"""What is served of a click system is what was trained: the plain form, packed, against the view's own batches."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.click_views import CONTEXT, NUM_USERS, everything, following, view, view_of
from tests.training.following_views import rated_fields
from training.data.click import HISTORY
from training.data.planted_clicks import planted_clicks, planted_fields
from training.interactions import Interactions
from training.layers.click_release import HISTORY_BATCH, Ranker, Scorer, user_row
from training.registry import SYSTEMS
from training.servable import Servable, Signature
from training.system import prepare
from training.systems.dea.served import Ranker as AbsorbedRanker
from training.systems.matt.model import MattConfig
from training.systems.matt.served import PlainPaths
from training.systems.matt.served import Scorer as PathScorer
from training.tasks.click import CLICK

SETS = {
    "everything": everything,
    "no context": partial(everything, context=False),
    "clicks": planted_clicks,
    "fields": planted_fields,
    "following": following,
    "following ids": rated_fields,
    "following, no context": partial(following, context=False),
}
SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0}
CONFIGS = {
    **{name: SYSTEMS[name].config(**SMALL) for name in ("fm", "mlp", "autoint", "deepfm", "dea", "din")},
    "gsvr": SYSTEMS["gsvr"].config(**SMALL, max_length=16, backbone="pepnet"),
    "pepnet": SYSTEMS["pepnet"].config(**SMALL, max_length=16, gate_units=4),
    "shared_bottom": SYSTEMS["shared_bottom"].config(**SMALL, max_length=16),
    "lrea": SYSTEMS["lrea"].config(**SMALL, rank=4, max_length=16),
    **{f"matt {base}": MattConfig(**SMALL, paths=3, base=base) for base in ("fm", "dea", "deepfm")},
    "recency_pooling": SYSTEMS["recency_pooling"].config(**SMALL, max_length=16),
}
PLAIN = [(name, which) for name in ("fm", "din") for which in SETS]
"""Kinds of the plain release, on all sets."""
SPECIAL = [
    *((name, "everything") for name in ("mlp", "autoint", "deepfm", "dea", "lrea", "recency_pooling")),
    *((name, which) for name in ("gsvr", "pepnet", "shared_bottom") for which in ("everything", "clicks")),
    *((name, which) for name in ("lrea", "dea") for which in ("no context", "clicks")),
    *((f"matt {base}", which) for base in ("fm", "dea", "deepfm") for which in ("no context", "clicks")),
    *((name, "following ids") for name in ("dea", "matt fm", "matt dea", "matt deepfm")),
    ("matt fm", "following, no context"),
]
CASES = [pytest.param(*case, id="-".join(case)) for case in (*PLAIN, *SPECIAL)]


@cache
def interactions(which: str) -> Interactions:
    return SETS[which]()


@cache
def released(name: str, which: str) -> tuple[Signature, ...]:
    """Of a model whose weights are random and large enough to matter."""
    system, config = SYSTEMS[name.split()[0]], CONFIGS[name]
    data = view_of(system, interactions(which))
    torch.manual_seed(0)
    module = system.build(config, data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return system.release(module.eval(), config, data)


def asked_of(name: str, which: str, size: int = 10) -> tuple[Signature, tuple[Tensor, ...]]:
    signature = released(name, which)[-1]
    return signature, signature.example(size, 3)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_what_is_served_equals_the_reference_over_its_example_requests(name: str, which: str) -> None:
    signature, inputs = asked_of(name, which)
    assert signature.reference is not None
    assert signature.eager64 is not None
    exact, in64, in32 = signature.reference(*inputs), signature.eager64(*inputs), signature.eager(*inputs)
    assert float(exact[0].std()) > 1e-3
    assert len(exact) == len(signature.outputs)
    for expected, wide, narrow in zip(exact, in64, in32, strict=True):
        assert expected.shape == inputs[1].shape
        torch.testing.assert_close(wide, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(narrow, expected.float(), rtol=1e-4, atol=1e-4)
        assert narrow.dtype == torch.float32


def one_request(inputs: tuple[Tensor, ...], number: int) -> tuple[Tensor, ...]:
    user, candidates, ends, *moment = inputs
    own = torch.tensor_split(candidates, ends[:-1].long())[number]
    return (
        user[number : number + 1],
        own,
        torch.tensor([len(own)], dtype=torch.int32),
        *(part[number : number + 1] for part in moment),
    )


@pytest.mark.parametrize(("name", "which"), CASES)
def test_other_requests_of_the_batch_and_empty_ones_around_do_not_matter(name: str, which: str) -> None:
    signature, inputs = asked_of(name, which)
    assert signature.eager64 is not None
    together = torch.tensor_split(signature.eager64(*inputs)[0], inputs[2][:-1].long())
    for number in (0, 2, 9):
        alone = one_request(inputs, number)
        assert len(alone[1])
        torch.testing.assert_close(signature.eager64(*alone)[0], together[number], rtol=1e-12, atol=1e-12)
        zero = torch.zeros(1, dtype=torch.int32)
        padded = [torch.cat([part, part]) for part in (alone[0], *alone[3:])]
        ends = torch.cat([zero, alone[2]])
        found = signature.eager64(padded[0], alone[1], ends, *padded[1:])[0]
        torch.testing.assert_close(found, together[number], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_a_negative_candidate_has_no_score_and_spoils_no_other(name: str, which: str) -> None:
    signature, inputs = asked_of(name, which)
    candidates = inputs[1].clone()
    # The paths of MATT follow the candidate: the same one, or none.
    negative = torch.arange(len(candidates)) % 5 == 1
    candidates[negative] = -7
    found = signature.eager(inputs[0], candidates, *inputs[2:])[0]
    assert torch.equal(found.isnan(), negative)
    before = signature.eager(*inputs)[0]
    torch.testing.assert_close(found[~negative], before[~negative])


@pytest.mark.parametrize(("name", "which"), CASES)
def test_a_stranger_is_nobody_and_an_item_that_nobody_knows_is_item_0(name: str, which: str) -> None:
    signature, inputs = asked_of(name, which)
    moment = one_request(inputs, 2)[3:]
    keyed = name.startswith("matt")  # where paths are drawn by the candidate's id
    items = torch.tensor([3, 5, 0])
    ends = torch.tensor([3], dtype=torch.int32)
    nobody = signature.eager(torch.tensor([[0]]), items, ends, *moment)[0]
    for stranger in (-1, 2**62, -(2**63), 10**6):
        found = signature.eager(torch.tensor([[stranger]]), items, ends, *moment)[0]
        assert torch.equal(found, nobody)
    if not keyed:
        unknown = signature.eager(torch.tensor([[2]]), torch.tensor([0, 2**62, 10**6]), ends, *moment)[0]
        torch.testing.assert_close(unknown, unknown[:1].expand(3), rtol=1e-6, atol=0)


def test_systems_with_a_faster_form_serve_it_where_it_knows_all_fields_and_else_the_plain_one() -> None:
    names = {which: [one.name for one in released("lrea", which)] for which in ("clicks", "no context", "everything")}
    plain = ["lrea_history", "lrea_scorer", "lrea"]
    assert names == {
        "clicks": ["lrea_encoder", "lrea_scorer", "lrea_state", "lrea"],
        "no context": plain,
        "everything": plain,
    }
    modules = {which: released("dea", which)[-1].module for which in ("clicks", "no context", "everything")}
    assert isinstance(released("dea", "fields")[-1].module, AbsorbedRanker)
    assert all(isinstance(module, Ranker) for module in (modules["no context"], modules["everything"]))


@pytest.mark.parametrize(
    ("name", "which", "plain"),
    [("matt dea", "fields", False), ("matt dea", "no context", True), ("matt fm", "fields", True)],
)
def test_paths_go_through_the_plain_base_where_no_absorbed_one_knows_its_fields(
    name: str, which: str, *, plain: bool
) -> None:
    scorer = released(name, which)[1].module
    assert isinstance(scorer, PathScorer)
    assert isinstance(scorer.absorbed, PlainPaths) == plain


def test_paths_are_not_served_where_a_request_has_fields_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"everything: events have the fields \['channel', 'hour', 'words'\], which"):
        released("matt fm", "everything")


@pytest.mark.parametrize("name", ["fm", "din", "lrea", "dea"])
def test_a_request_carries_the_moment_s_fields_and_they_count(name: str) -> None:
    signature, inputs = asked_of(name, "everything")
    specs = {spec.name: spec for spec in signature.inputs[3:]}
    assert tuple(specs) == CONTEXT
    assert [(specs[one].dtype, specs[one].shape) for one in CONTEXT] == [
        ("int64", (1,)),
        ("float32", (1,)),
        ("int64", (3,)),
    ]
    before = signature.eager(*inputs)[0]
    changed = {"channel": (inputs[3] + 1) % 3, "hour": inputs[4].nan_to_num(1.0) + 4, "words": inputs[5] % 200 + 1}
    for place, field in enumerate(CONTEXT, 3):
        other = [*inputs]
        other[place] = changed[field]
        assert (signature.eager(*other)[0] != before).float().mean() > 0.5, field


@pytest.mark.parametrize("name", ["fm", "din"])
def test_an_infinite_number_of_the_moment_is_not_taken_for_a_missing_one_and_a_huge_one_has_a_score(name: str) -> None:
    signature, inputs = asked_of(name, "everything")
    hours = inputs[4].clone()
    hours[1:4, 0] = torch.tensor([torch.inf, -torch.inf, 9e18])
    found = signature.eager(*inputs[:4], hours, inputs[5])[0]
    counts = inputs[2].diff(prepend=inputs[2].new_zeros(1))
    infinite = torch.tensor([False, True, True] + [False] * 7).repeat_interleave(counts.long())
    assert infinite.any()
    assert torch.equal(found.isnan(), infinite)


def test_examples_hold_missing_values_of_the_moment_and_the_users_with_the_longest_and_the_shortest_history() -> None:
    _, inputs = asked_of("fm", "everything")
    user, candidates, ends, channel, hour, words = inputs
    assert channel[0].tolist() == [0]
    assert hour[0].isnan().all()
    assert words[0].tolist() == [0, 0, 0]
    assert not hour[1:].isnan().all()
    counts = everything().events["user"].value_counts().sort("count")
    log = view(everything()).log
    lengths = {one: len(log.user[log.of(one)]) for one in range(1, NUM_USERS + 1)}
    assert lengths[int(user[0])] == int(counts["count"][-1]) == max(lengths.values())
    assert lengths[int(user[1])] == min(lengths.values()) == 0
    assert {0, 1, 2} <= set(np.diff(ends.numpy(), prepend=0).tolist())
    assert (candidates > 10**6).any()


def test_the_history_step_gives_a_stranger_the_row_of_nobody_and_not_zeros() -> None:
    history, scorer, ensemble = released("din", "everything")
    rows = user_row(view_of(SYSTEMS["din"], everything())).arrays()
    assert [spec.name for spec in history.outputs] == list(rows)
    assert np.isnan(rows["profile_dense"][0]).all()
    users = torch.tensor([[2**40], [-1], [5]])
    for name, found in zip(rows, history.eager(users, None, None), strict=True):
        assert not found.isnan().any(), "which would tell a client that there is no answer"
        np.testing.assert_array_equal(np.nan_to_num(rows[name][[0, 0, 5]], nan=np.inf), found, err_msg=name)
    assert ensemble.needs == (history.name, scorer.name)
    assert {one.max_batch_size for one in (scorer, ensemble)} == {HISTORY_BATCH}
    first, second = ensemble.steps
    assert set(second.inputs) == {"candidates", *rows, *CONTEXT}
    assert set(first.outputs) == set(rows)


def test_rows_of_no_width_are_left_out() -> None:
    assert list(user_row(view_of(SYSTEMS["fm"], planted_fields())).arrays()) == ["user"]
    assert list(user_row(view_of(SYSTEMS["fm"], everything())).arrays()) == ["user", "user_dense", "user_sets"]
    names = list(user_row(view_of(SYSTEMS["din"], planted_clicks())).arrays())
    assert names == ["profile", "history_items", "history_values", "history_length"]


@pytest.mark.parametrize("length", [-1, 17, 2**40])
def test_a_length_that_cannot_be_gives_no_score(length: int) -> None:
    scorer = released("din", "clicks")[1]
    assert isinstance(scorer, Servable)
    assert isinstance(scorer.module, Scorer)
    candidates, ends, *rows = scorer.example(4, 1)
    place = [spec.name for spec in scorer.inputs[2:]].index("history_length")
    rows[place] = rows[place].clone()
    rows[place][2] = length
    (found,) = scorer.eager(candidates, ends, *rows)
    of_request = torch.arange(len(candidates))
    expected = (of_request >= ends[1]) & (of_request < ends[2])
    assert expected.any()
    assert torch.equal(found.isnan(), expected)


def test_long_histories_leave_room_for_fewer_candidates() -> None:
    system = SYSTEMS["din"]
    data = view_of(system, everything(), max_length=1 << 17)
    module = system.build(CONFIGS["din"], data.schema)
    prepare(module, data)
    ensemble = CLICK.release("din", module, data)[-1]
    candidates = next(spec for spec in ensemble.inputs if spec.name == "candidates")
    assert candidates.max_elements == 4
    assert int(np.diff(ensemble.example(9, 0)[2].numpy(), prepend=0).max()) == 4
    assert HISTORY in data.reads
