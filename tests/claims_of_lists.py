"""What sentences of docs/results.md say of finding items, each with the figures of its artefact."""

import json
from typing import Any

from loadtest import RESULTS
from recserve import results

FOUND = {(row["kind"], row["items"]): row for row in json.loads((RESULTS / "ann.json").read_text())["rows"]}
NEAR, FAR, ANYWHERE = (FOUND[kind, 1_000_000] for kind in ("clustered", "blurred", "isotropic"))
MOST = FOUND["clustered", 200_000]
CALLS = json.loads((RESULTS / "one-call.json").read_text())["one of two"]
SLOPE = json.loads((RESULTS / "heterrec-depth.json").read_text())["slope"]
ML1M = "ml-1m-clean"


def mean(name: str, metric: str, dataset: str = "beauty") -> float:
    """Of a retriever."""
    result = results.read("retrieval", dataset, name)
    assert result is not None, name
    return result.test[metric]["mean"]


def ndcg(name: str, dataset: str) -> str:
    """NDCG@10 of a model of next items, mean and spread over its seeds."""
    result = results.read("next_item", dataset, name)
    assert result is not None, name
    return f"{result.test['ndcg10']['mean']:.4f} ± {result.test['ndcg10']['std']:.4f}"


def alike(name: str) -> str:
    """Share of the pairs of places whose items share a code."""
    result = results.read("next_item", "beauty", name)
    assert result is not None, name
    return f"{result.test['alike']['mean']:.4f}"


def gap(one: str, other: str, metric: str, dataset: str = "beauty") -> str:
    return f"{mean(one, metric, dataset) - mean(other, metric, dataset):+.4f}"


def share(metric: str) -> str:
    """Of what alpha 1.4 finds, by alpha 0.6."""
    return f"{mean('croloss-sigmoid-alpha-0.6', metric) / mean('croloss-sigmoid-alpha-1.4', metric):.2f}"


def less(row: dict[str, Any], together: str = "") -> float:
    """Times that the index takes less than the product."""
    return row[f"exact_cpu_ms{together}"] / row[f"ann_cpu_ms{together}"]


ASKED = "recall50 of rated, asked for"
RECOVERED, FIRST = f"{ASKED} after rated, recovered", f"{ASKED} after rated"
SHOWN = "recall50 of shown, asked for after shown"
PRUNED = f"{SHOWN}, recovered"
OBJECTIVES = "ml-100k-objectives"
LINEAR = "croloss-sigmoid-alpha-0.6-linear", "croloss-sigmoid-alpha-1.4-linear"


def objectives(name: str, dataset: str = OBJECTIVES, of: tuple[str, ...] = ("rated", "liked", "loved")) -> str:
    """Recall@50 of each objective's own list against CSMF's."""
    return ", ".join(f"{gap(name, 'csmf', f'recall50 of {one}, asked for', dataset)} {one}" for one in of)


def each(name: str, metric: str) -> str:
    """A metric of the three objectives."""
    return ", ".join(f"{mean(name, metric.format(one), OBJECTIVES):.4f}" for one in ("rated", "liked", "loved"))


KUAIRAND = "shown", "clicked", "long_view"


def on_kuairand(name: str) -> str:
    """The same on its cascade."""
    return objectives(name, "kuairand", KUAIRAND)


def whole(name: str) -> str:
    """Recall@50 of each objective on kuairand by the whole vector."""
    return ", ".join(f"{mean(name, f'recall50 of {one}', 'kuairand'):.4f}" for one in KUAIRAND)


CLAIMS = [
    f"HeterRec's NDCG@10 is {ndcg('heterrec', 'hin-amazon')} on `hin-amazon`, that of the stack over items with as "
    f"many blocks {ndcg('heterrec-items2', 'hin-amazon')}; SASRec has {ndcg('sasrec', 'hin-amazon')} and fused_sasrec "
    f"{ndcg('fused_sasrec', 'hin-amazon')}",
    f"A list of three next items in place of one has {ndcg('heterrec-k3', 'hin-amazon')}, of five "
    f"{ndcg('heterrec-k5', 'hin-amazon')}",
    f"With 2 blocks of each level it has {ndcg('heterrec-tokens2-items2', 'hin-amazon')}, with 4 of each "
    f"{ndcg('heterrec-tokens4-items4', 'hin-amazon')}; the stack over items has "
    f"{ndcg('heterrec-items4', 'hin-amazon')} with 4 blocks and {ndcg('heterrec-items8', 'hin-amazon')} with 8",
    f"takes {-SLOPE['tokens, then items']:.4f} from HeterRec and adds "
    f"{SLOPE['items alone, as many parameters']:.4f} to the stack",
    f"BBQRec's NDCG@10 is {ndcg('bbqrec', 'beauty')}, with the codes of other items "
    f"{ndcg('bbqrec-permuted', 'beauty')}, with tables held at zero {ndcg('bbqrec-zero-table', 'beauty')}, "
    f"which is SASRec, {ndcg('sasrec', 'beauty')}",
    f"With codebooks of their own for text, graph and what they share it is {ndcg('bbqrec-separate', 'beauty')}, with "
    f"RQ-VAE's ids {ndcg('bbqrec-rqvae', 'beauty')}",
    f"Items that share a code are {alike('bbqrec')} of the pairs of places by their true codes and "
    f"{alike('bbqrec-permuted')} by exchanged ones",
    f"takes {mean('csmf-naive', FIRST, OBJECTIVES) - mean('csmf-naive', ASKED, OBJECTIVES):.4f} from the Recall@50 of "
    f"the first objective's list, {mean('csmf-naive', FIRST, OBJECTIVES):.4f} at first",
    f"its pruning costs {mean('csmf', FIRST, OBJECTIVES) - mean('csmf', RECOVERED, OBJECTIVES):.4f}",
    f"liked {gap('csmf', 'csmf-naive', 'recall50 of liked, asked for', OBJECTIVES)} and loved "
    f"{gap('csmf', 'csmf-naive', 'recall50 of loved, asked for', OBJECTIVES)}",
    f"All objectives at once in one vector are {objectives('csmf-mixed')} against it; the last one alone is "
    f"{objectives('csmf-last')}; three narrow pairs of towers are {objectives('csmf-towers')}",
    f"find {each('two_tower', 'recall50 of {}')} of the three with their one list, CSMF with a list for each "
    f"{each('csmf', 'recall50 of {}, asked for')}",
    f"On `kuairand` it does not pay: mixed objectives are {on_kuairand('csmf-mixed')} against it, fine-tuning without "
    f"masks {on_kuairand('csmf-naive')}",
    f"The last objective alone is {on_kuairand('csmf-last')}, three narrow pairs of towers "
    f"{on_kuairand('csmf-towers')}",
    f"Plain two towers of as many outputs find {whole('two_tower')} of the "
    f"three, CSMF by its whole vector {whole('csmf')}",
    f"Pruning costs {mean('csmf', SHOWN, 'kuairand') - mean('csmf', PRUNED, 'kuairand'):.4f} of "
    f"{mean('csmf', SHOWN, 'kuairand'):.4f} there",
    f"a million clustered vectors the index takes {less(NEAR):.1f} times less of the processor than the product for "
    f"one request, at a recall@200 of {NEAR['recall']:.4f}; with blurred ones it looks into half of its lists and "
    f"takes {less(FAR):.1f} times less, with those of all directions into all of them and takes {less(ANYWHERE):.1f} "
    f"times less",
    f"16 here, cost the product {NEAR['exact_cpu_ms'] / NEAR['exact_cpu_ms_of_16']:.1f} times less each, and the index "
    f"about as much as alone: among 16 it takes {less(NEAR, '_of_16'):.1f} times less than the product with clustered "
    f"vectors and {1 / less(FAR, '_of_16'):.1f} times more with blurred ones",
    f"that costs {MOST['exact_cpu_ms']:.1f} ms for one request and {MOST['exact_cpu_ms_of_16']:.1f} ms among 16; an "
    f"index would take {MOST['ann_cpu_ms']:.1f} ms where vectors are clustered",
    f"index of a million items has {NEAR['index_bytes'] / 2**20:.1f} MiB beside "
    f"{NEAR['vectors_bytes'] / 2**20:.1f} MiB of vectors, and took {NEAR['build_cpu_s']:.1f} s of one core to build",
    f"One call of `retrieve_then_rank` takes {CALLS['p50_ms']:.2f} of the time of two and {CALLS['server_cpu_ms']:.2f} "
    f"of the server's processor",
    f"The client's own is {CALLS['client_cpu_ms']:.2f} of that for two",
    f"softplus is {gap('croloss', 'croloss-exp', 'recall20')} Recall@20 and "
    f"{gap('croloss', 'croloss-exp', 'recall500')} Recall@500 from it",
    f"alpha 0.6 in place of 1.4 is {gap(*LINEAR, 'recall500')} Recall@500, {mean(LINEAR[0], 'recall500'):.4f} against "
    f"{mean(LINEAR[1], 'recall500'):.4f}, for {gap(*LINEAR, 'recall20')} Recall@20, "
    f"{mean(LINEAR[0], 'recall20'):.4f} against {mean(LINEAR[1], 'recall20'):.4f}",
    f"{mean('croloss-exp-linear', 'recall20', 'gowalla'):.4f} of Recall@20 and "
    f"{mean('croloss-exp-linear', 'recall500', 'gowalla'):.4f} of Recall@500, on the same towers",
    f"alpha 0.6 is {gap(*LINEAR, 'recall20', 'gowalla')} Recall@20 and {gap(*LINEAR, 'recall500', 'gowalla')} "
    f"Recall@500 against 1.4",
    f"At 500 items alpha 1 does, {gap('croloss-sigmoid', 'croloss-sigmoid-alpha-1.4', 'recall500')} against 1.4",
    f"the sigmoid with alpha 0.6 has {share('recall20')} of the Recall@20 of alpha 1.4, and {share('recall500')} of "
    "its Recall@500",
    f"S-Diff is {gap('sdiff', 'popularity', 'recall20', ML1M)} Recall@20 and "
    f"{gap('sdiff', 'popularity', 'ndcg20', ML1M)} NDCG@20 against popularity on `ml-1m-clean`, and "
    f"{gap('sdiff', 'ease', 'recall20', ML1M)} and {gap('sdiff', 'ease', 'ndcg20', ML1M)} against EASE",
    f"isotropic noise of equal energy is {gap('sdiff-isotropic', 'sdiff', 'recall20', ML1M)} Recall@20 and "
    f"{gap('sdiff-isotropic', 'sdiff', 'ndcg20', ML1M)} NDCG@20 against it, one step in place of several "
    f"{gap('sdiff-steps-1', 'sdiff', 'recall20', ML1M)} and {gap('sdiff-steps-1', 'sdiff', 'ndcg20', ML1M)}; the ideal "
    f"low-pass filter, which learns nothing, is {gap('sdiff-low-pass', 'sdiff', 'recall20', ML1M)} and "
    f"{gap('sdiff-low-pass', 'sdiff', 'ndcg20', ML1M)}",
]


def check_what_is_said_without_a_figure() -> None:
    assert [row["rule"] for row in (MOST, NEAR)] == ["exact", "ann"]
    lists = [(row["nprobe"], int(row["factory"].removeprefix("IVF").removesuffix(",SQ8"))) for row in (FAR, ANYWHERE)]
    assert [looked_into / number for looked_into, number in lists] == [0.5, 1.0]
    assert all(0.85 < row["ann_cpu_ms_of_16"] / row["ann_cpu_ms"] < 1.05 for row in FOUND.values())
    assert mean("csmf", RECOVERED, OBJECTIVES) == mean("csmf", ASKED, OBJECTIVES)
    losses = [path.stem for path in (results.FOLDER / "retrieval" / "beauty").glob("croloss*.json")]
    losses = [name for name in losses if not name.endswith("-linear")]
    for metric in ("recall20", "recall50", "recall100", "recall200", "recall500"):
        assert max(losses, key=lambda name: mean(name, metric)) == "croloss-exp", metric
        assert mean("croloss-sigmoid-alpha-0.6", metric) < mean("croloss-sigmoid-alpha-1.4", metric)
        assert mean("croloss-sigmoid-alpha-0.6-linear", metric) > mean("croloss-exp", metric)
    gaps = [
        mean(LINEAR[1], f"recall{n}", "gowalla") - mean(LINEAR[0], f"recall{n}", "gowalla") for n in (100, 200, 500)
    ]
    assert gaps == sorted(gaps, reverse=True)
