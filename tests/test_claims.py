"""Each figure in a sentence of a page about results is that of a committed artefact."""

import json
import re
from statistics import fmean
from typing import Any

import pytest

from loadtest import RESULTS as MEASURED
from loadtest import abuse, faults
from recserve import results
from recserve.studies.label_share import fields
from tests import claims_of_lists, claims_of_peers, claims_of_tracing
from tests.pages import PAGES, blocks, prose
from training.registry import SYSTEMS

REGION = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)
FIGURE = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)+|\d+ %")
PROTOCOL = re.compile(r"95 % over|first 80 %|next 10 %|last 10 %|theta 0\.5")
"""Of an interval, of a split, a parameter: figures that nobody measured."""
VERSIONS = {
    *("3.11", "3.12"),  # Python
    *("2.51", "2.59", "2.66", "24.10", "25.06", "25.07", "26.02"),  # tritonserver and its containers
    *("3.6", "3.6.0", "3.7", "3.7.1", "3.9.0"),  # Triton
    *("1.26", "2.11", "2.13", "1.19.2", "1.31", "0.7.0"),  # numpy, torch, ONNX Runtime, the wheel
    *("1.37", "0.21.0"),  # Kubernetes, KServe
    *("-2.0", "4.0"),  # of Apache and of CC BY-SA
}
RESULTS = "docs/results.md"
HIN, ML = "hin-amazon", "ml-100k"
KUAI, FILMS = "kuairand", "films"
TASKS = {HIN: "click", ML: "click", KUAI: "click", FILMS: "click", "beauty": "next_item"}
TOKENIZERS = ("mmq", "mmq2", "mpq", "rqvae")


def sentences(page: str) -> str:
    """The page without its generated tables and its blocks, on one line."""
    return " ".join(REGION.sub("", prose(page)).split())


RESULTS_PAGE = sentences(RESULTS)


def mean(name: str, metric: str, dataset: str = "beauty") -> float:
    """Of a <system>[-variant]; a data set has one task here."""
    result = results.read(TASKS[dataset] if name not in TOKENIZERS else "semantic_ids", dataset, name)
    assert result is not None, name
    return result.test[metric]["mean"]


def gap(one: str, other: str, metric: str, dataset: str) -> float:
    return mean(one, metric, dataset) - mean(other, metric, dataset)


def both(one: str, other: str) -> str:
    """On kuairand."""
    return f"{gap(one, other, 'auc', KUAI):+.4f} AUC and {gap(one, other, 'gauc', KUAI):+.4f} GAUC"


def on(dataset: str, one: str, other: str) -> str:
    """The difference of two systems on a data set."""
    return f"{gap(one, other, 'auc', dataset):+.4f} AUC and {gap(one, other, 'gauc', dataset):+.4f} GAUC"


def gain(name: str, damage: str) -> str:
    """AUC of a system on MovieLens-100k over its base's, on rows with that damage."""
    return f"{mean(name, f'{damage}gain', ML):+.4f}"


def load(name: str) -> Any:
    return json.loads((MEASURED / f"{name}.json").read_text())


def largest_move(names: tuple[str, ...], one: str, other: str) -> float:
    return max(abs(mean(name, one) - mean(name, other)) for name in names)


def seeds_of(name: str, metric: str, dataset: str = ML) -> list[float]:
    """One value for each seed."""
    result = results.read("click", dataset, name)
    assert result is not None
    assert result.by_seed is not None
    return result.by_seed[metric]


def cell(name: str, samples: str) -> str:
    """AUC on kuairand's test samples whose user has so many training samples in the scenario."""
    return f"{mean(name, f'auc_cell_{samples}', KUAI):.4f}"


def listed(values: list[str]) -> str:
    """Of two or more."""
    return f"{', '.join(values[:-1])} and {values[-1]}"


def by_seed(name: str, metric: str, less: str = "") -> str:
    """Values of the seeds in order, or differences from those of another metric."""
    other = seeds_of(name, less) if less else [0.0] * 3
    return listed([f"{one - two:+.4f}" for one, two in zip(seeds_of(name, metric), other, strict=True)])


def few_labels(way: str) -> list[str]:
    """Of DGenCTR's way against scratch, with labels of 10, 5 and 1 % of the rows."""
    shares = ("10-percent", "5-percent", "1-percent")
    return [on(ML, f"dgenctr{way}-{share}", f"dgenctr-scratch-{share}") for share in shares]


def abundances(way: str, shares: tuple[str, ...] = ("-1-percent", "-5-percent", "-10-percent")) -> list[str]:
    return [f"{mean(f'dgenctr{way}{share}', 'abundance', ML):.1f}" for share in shares]


def worse(dataset: str, stage: str) -> list[str]:
    """Fields that DGenCTR generates worse than by frequency."""
    result = results.read("click", dataset, "dgenctr")
    assert result is not None
    found = fields.gains(result, stage)
    return [f"`{name}`" for name, nats in found.items() if nats["mean"] < 0]


LENGTH, REG4REC = load("lrea-length"), load("reg4rec")
CLOSED = {run["users"]: run for run in REG4REC["runs"] if run["mode"] == "closed"}
OPEN = {round(run["offered"]): run for run in REG4REC["runs"] if run["mode"] == "open"}
GENERATORS = ("reg4rec", "reg4rec-mmq", "reg4rec-mmq2", "reg4rec-rqvae", "reg4rec-letter")
BEFORE = " after supervised"
MMQ2, LETTER = (
    {name: mean(system, name) for name in ("ndcg10", "consistency", "pruned_share")}
    | {f"early_{name}": mean(system, name + BEFORE) for name in ("ndcg10", "consistency", "pruned_share")}
    for system in ("reg4rec-mmq2", "reg4rec-letter")
)
CHIME_GRAPHS = ("encoder", "observer", "scorer")
THIN = load("sparse-scenario")["test"]
SPARSE = {
    name: fmean(THIN["gsvr"][f"{name} length=longer"]) - fmean(THIN["gsvr off"][f"{name} length=longer"])
    for name in ("auc", "gauc")
}
MENDING = {row["way"]: row for row in load("sgctr-mending")["rows"]}
COST = {row["candidates"]: row["two of one"] for row in load("sfpnet-cost")["rows"]}
OWN = [(row["graph"], row["assignment"] + row["histogram"]) for row in load("chime-profile")["rows"]]
ENCODER, OBSERVER, SCORER = (sorted(share for name, share in OWN if name == f"chime_{one}") for one in CHIME_GRAPHS)
STEPS = {row["way"]: row["p50_ms"] for row in load("chime-length")["rows"] if row["length"] == 128}
TOGETHER = STEPS["observe"] * OBSERVER[-1] + STEPS["chime"] * SCORER[-1]
CLAIMS = [
    f"histogram take {ENCODER[0]:.0%} to {ENCODER[-1]:.0%} of the graph that computes a state from a history, "
    f"{OBSERVER[0]:.0%} to {OBSERVER[-1]:.0%} of the one that adds an event and at most {SCORER[-1]:.1%} of the "
    f"scorer, and so {TOGETHER / (STEPS['observe'] + STEPS['chime']):.0%} of an event and a request together",
    f"{LENGTH['ratios']['din_over_lrea_direct_16384']:,.0f} times less than DIN-style attention",
    f"takes {LENGTH['ratios']['end_to_end_over_direct_scorer']:.1f} times the scorer alone",
    f"LREA is {gap('lrea', 'din', 'auc', ML):.4f} AUC above DIN, "
    f"and {gap('din', 'lrea', 'gauc', ML):.4f} GAUC below it",
    f"level with it in AUC and {gap('recency_pooling', 'lrea', 'gauc', ML):.4f} above it in GAUC",
    f"{gap('dea', 'mlp', 'auc', HIN):+.4f} AUC and {gap('dea', 'mlp', 'gauc', HIN):+.4f} GAUC on `hin-amazon`, "
    f"{gap('dea', 'mlp', 'auc', ML):+.4f} AUC and {gap('dea', 'mlp', 'gauc', ML):+.4f} GAUC on `ml-100k`",
    f"It is {gap('dea', 'autoint', 'auc', HIN):.4f} AUC "
    f"and {gap('dea', 'autoint', 'gauc', HIN):.4f} GAUC above AutoInt",
    f"GSVR around a shared bottom is {both('gsvr', 'gsvr-off')} against the same network",
    f"in all scenarios, {both('gsvr', 'gsvr-free')} against free tables",
    f"by lot it is {both('gsvr', 'gsvr-permuted')} from that",
    f"by era of the film it is {on(ML, 'gsvr', 'gsvr-off')} against one vector in all eras, and "
    f"{on(ML, 'gsvr', 'gsvr-permuted')} against eras by lot",
    f"`din_ages` is {on(ML, 'din_ages', 'din')} from it",
    f"it is {on(ML, 'sfpnet', 'din')} against DIN and {on(ML, 'sfpnet', 'pepnet')} against PEPNet",
    f"CHIME is {on(ML, 'chime', 'din')} against DIN on `ml-100k`, {on(ML, 'chime', 'mean_pooling')} against the mean "
    f"of the history and {on(ML, 'chime', 'lrea')} against LREA",
    f"it loses a little, {on(ML, 'chime-last50', 'chime')}",
    f"without the holistic one it is {on(ML, 'chime-no-holistic', 'chime')}, without the immediate one "
    f"{on(ML, 'chime-no-immediate', 'chime')}",
    f"On `films` with up to 4,096 events it is {on(FILMS, 'chime', 'din')} against DIN with 256, and "
    f"{on(FILMS, 'chime', 'lrea')} against LREA with as many",
    f"is {on(ML, 'dgenctr', 'dgenctr-scratch')} against the same network from scratch on `ml-100k`, "
    f"{few_labels('')[0]} where one row in ten has a label, {few_labels('')[1]} where one row in twenty has a label "
    f"and {few_labels('')[2]} where one in a hundred has",
    f"With the embeddings alone these are {', '.join(few_labels('-embeddings'))}; with fixed masks and no label (MFP), "
    f"the rival, {', '.join(few_labels('-mfp'))}. So",
    f"abundance is {listed(abundances(''))} at 1, 5 and 10% of the labels against {listed(abundances('-scratch'))} "
    f"from scratch, and only with all labels higher, {abundances('', ('',))[0]} against "
    f"{abundances('-scratch', ('',))[0]}.",
    f"Given the others, {listed(worse(ML, ' after generate'))} are generated worse than by frequency after "
    f"pre-training, and {listed(worse(ML, ''))} after fine-tuning",
    f"By seed it is {by_seed('sgctr', 'gain')} AUC and {by_seed('sgctr', 'gauc', 'base_gauc')} GAUC on clean rows, no "
    f"gain that its seeds agree on, and {by_seed('sgctr', 'corrupt3_gain')} with three damaged fields",
    f"fields, by seed {by_seed('sgctr-shuffled', 'corrupt3_gain')}.",
    f"masks, {mean('sgctr-shuffled', 'corrupt1_found', ML):.0%} are damaged with it and "
    f"{mean('sgctr', 'corrupt1_found', ML):.0%} with the true one where one field is, "
    f"{mean('sgctr-shuffled', 'corrupt3_found', ML):.0%} and {mean('sgctr', 'corrupt3_found', ML):.0%} where three "
    f"are; chance is {mean('sgctr', 'corrupt1_by_chance', ML):.0%} and {mean('sgctr', 'corrupt3_by_chance', ML):.0%}.",
    f"On `hin-amazon` {mean('sgctr', 'corrupt1_found', HIN):.0%} and {mean('sgctr', 'corrupt3_found', HIN):.0%} are",
    f"one round was measured at {MENDING['1 round']['ratio']:.2f}, two at {MENDING['2 rounds']['ratio']:.2f} times, "
    f"with {MENDING['1 round']['early_exit']:.0%} of the timed rows leaving early",
    f"on `ml-100k` is {gain('sgctr', '')} AUC and {gap('sgctr', 'dgenctr', 'gauc', ML):+.4f} GAUC over its base on "
    f"clean rows, and {gain('sgctr', 'corrupt1_')}, {gain('sgctr', 'corrupt2_')} and {gain('sgctr', 'corrupt3_')} with "
    f"one to three damaged fields; {mean('sgctr', 'early_exit', ML):.0%} of the clean rows leave early",
    f"with the same damage, gains {gain('matt-dgenctr', '')}, {gain('matt-dgenctr', 'corrupt1_')}, "
    f"{gain('matt-dgenctr', 'corrupt2_')} and {gain('matt-dgenctr', 'corrupt3_')}, at more cost",
    f"cosines, choice and blend, takes {load('sgctr-mending')['own_share']:.0%} of its time",
    f"it gains {gain('sgctr-shuffled', '')} on clean rows and {gain('sgctr-shuffled', 'corrupt3_')} with three",
    f"a tenth of the longer videos it is {SPARSE['auc']:+.4f} AUC and {SPARSE['gauc']:+.4f} GAUC against one vector",
    f"SFPNet is {both('sfpnet', 'din')} against DIN, {both('sfpnet', 'pepnet')} against PEPNet on `kuairand`, and "
    f"{both('sfpnet', 'sfpnet-additive')} against its control",
    f"two graphs take {COST[500]:.2f} times as long as one for 500 candidates, {COST[100]:.2f} times for 100, "
    f"{COST[10]:.2f} times for 10, and {COST[1]:.2f} times for one",
    f"no sample of the user in the scenario, {cell('gsvr', '0')} against {cell('gsvr-off', '0')} and "
    f"{cell('gsvr-free', '0')} on {mean('gsvr', 'samples_cell_0', KUAI):.0f} test samples, where",
    f"with 3 to 10 by {cell('gsvr', '10')} against {cell('gsvr-off', '10')} and {cell('gsvr-free', '10')} on "
    f"{mean('gsvr', 'samples_cell_10', KUAI):.0f}. By lot these two are {cell('gsvr-permuted', '0')} and "
    f"{cell('gsvr-permuted', '10')} on the same samples.",
    f"NDCG@10 runs from {mean('reg4rec-mmq', 'ndcg10'):.4f} (MMQ) to {LETTER['ndcg10']:.4f} (LETTER",
    f"consistency (MMQ-v2: {MMQ2['early_consistency']:.4f} to {MMQ2['consistency']:.4f})",
    f"goes from {MMQ2['early_ndcg10']:.4f} to {MMQ2['ndcg10']:.4f}, on LETTER's ids from "
    f"{LETTER['early_ndcg10']:.4f} to {LETTER['ndcg10']:.4f}, on the others it moves by at most 0.0003",
    f"{LETTER['pruned_share']:.0%} of the checked paths on LETTER's ids "
    f"({LETTER['early_pruned_share']:.0%} before the second stage), "
    f"{MMQ2['pruned_share']:.0%} ({MMQ2['early_pruned_share']:.0%}) on MMQ-v2's, "
    f"{mean('reg4rec-rqvae', 'pruned_share'):.0%} on RQ-VAE's and at most 1% on the others; "
    f"NDCG@10 moves by at most 0.0003",
    f"changes an id of {mean('mmq', 'churn'):.0%} of the items",
    f"on average {mean('mmq2', 'active_share'):.0%} of the behaviour ids have a weight",
    f"one user {CLOSED[1]['p50_ms']:.1f} ms, {CLOSED[1]['over_floor']['p50']:.1f} times the graph in process; "
    f"32 users {CLOSED[32]['rate']:.0f} requests/s; "
    f"at open arrivals p50 is {OPEN[12]['p50_ms']:.0f} ms from 12 requests/s",
]
CLAIMS += claims_of_lists.CLAIMS + claims_of_peers.CLAIMS + claims_of_tracing.CLAIMS
SPELT = [claim.replace("%", " %") for claim in CLAIMS]


@pytest.mark.parametrize("claim", SPELT)
def test_a_sentence_says_what_its_artefact_says(claim: str) -> None:
    assert claim in RESULTS_PAGE


@pytest.mark.parametrize("page", PAGES)
def test_no_other_sentence_has_a_figure(page: str) -> None:
    left = sentences(page)
    for claim in SPELT if page == RESULTS else ():
        left = left.replace(claim, "")
    left = PROTOCOL.sub("", re.sub(r"`[^`]*`|\]\([^)]*\)", "", left))
    assert [figure for figure in FIGURE.findall(left) if page == RESULTS or figure not in VERSIONS] == []


def test_what_sentences_say_without_a_figure_holds() -> None:
    assert abs(gap("recency_pooling", "lrea", "auc", ML)) < 0.001
    assert mean("lrea", "negative_share", ML) < 1e-4
    for metric in ("auc", "gauc"):
        assert abs(mean("lrea", metric, ML) - mean("lrea", f"served_{metric}", ML)) < 5e-5
        assert gap("mlp", "autoint", metric, HIN) > 0.008
    assert abs(mean("reg4rec-rqvae", "ndcg10") - mean("tiger", "ndcg10")) < 0.0005
    assert min(mean(name, "ndcg10") for name in GENERATORS) == mean("reg4rec-mmq", "ndcg10")
    others = ("reg4rec", "reg4rec-mmq", "reg4rec-rqvae")
    assert largest_move(others, "ndcg10", "ndcg10" + BEFORE) <= 0.0003
    assert largest_move(GENERATORS, "ndcg10", "corp_ndcg10") <= 0.0003
    assert max(mean(name, "pruned_share") for name in ("reg4rec", "reg4rec-mmq")) <= 0.01
    assert OPEN[12]["p99_ms"] < 20 < OPEN[24]["p99_ms"]
    assert not worse(HIN, " after generate")
    assert worse(HIN, "") == ["`user_id`"]
    for damage in ("corrupt1_", "corrupt2_", "corrupt3_"):
        assert min(seeds_of("sgctr", f"{damage}gain")) > 0
        control = seeds_of("sgctr-shuffled", f"{damage}gain")
        over = mean("sgctr", f"{damage}gain", ML) - mean("sgctr-shuffled", f"{damage}gain", ML)
        assert over < max(control) - min(control)
    for samples in ("0", "2", "10", "more"):
        own, *controls = (mean(one, f"auc_cell_{samples}", KUAI) for one in ("gsvr", "gsvr-off", "gsvr-free"))
        assert own < min(controls) if samples == "0" else own > max(controls)
    assert COST[1] > 1 > COST[10] > COST[100] > COST[500]
    assert min(seeds_of("sgctr", "gain")) < 0 < max(seeds_of("sgctr", "gain"))
    claims_of_lists.check_what_is_said_without_a_figure()
    assert faults.holds(load("faults"))
    assert abuse.holds(load("abuse"))
    dropped = {row["system"]: row["drop"]["mean"] for row in load("dmae-cold")["rows"]}
    assert dropped["early_fusion"] < dropped["dmae"] < dropped["din"]
    gains = [
        mean(f"matt-{base}", "gauc", dataset) - mean(f"matt-{base}", "base_gauc", dataset)
        for dataset in (HIN, ML)
        for base in ("autoint", "dea", "deepfm")
    ]
    assert min(gains[:3]) > 0.004
    assert -0.002 < min(gains[3:]) <= max(gains[3:]) < 0.0005


def test_every_command_for_hin_amazon_is_the_one_that_was_run() -> None:
    lines = [line for page in PAGES for block in blocks(page) for line in block.text.splitlines()]
    commands = [line for line in lines if re.match(r"recserve train \w+ .*hin-amazon", line)]
    assert commands
    of_clicks = [command for command in commands if SYSTEMS[command.split()[2]].task.name == "click"]
    assert all("--config.unknown-rate 0" in command for command in of_clicks)
    for path in results.FOLDER.glob("click/hin-amazon/*.json"):
        # Systems over histories have no such rate.
        assert json.loads(path.read_text())["config"].get("unknown_rate", 0.0) == 0.0


def test_auc_of_clicks_has_gauc_beside_it_in_every_sentence_with_a_figure() -> None:
    for claim in set(SPELT) - set(claims_of_tracing.CLAIMS):
        assert ("AUC" not in claim.replace("GAUC", "")) or "GAUC" in claim
