"""What sentences of docs/results.md say of knowledge tracing, each with the figures of its artefact."""

import json

from loadtest import RESULTS
from recserve import results

DATASET = "simulated-students"
REMEMBERING = "simulated-students-remembering"


def mean(name: str, metric: str, dataset: str = DATASET) -> float:
    result = results.read("tracing", dataset, name)
    assert result is not None, name
    return result.test[metric]["mean"]


def seeds(name: str, metric: str) -> str:
    """Mean and spread."""
    result = results.read("tracing", DATASET, name)
    assert result is not None, name
    return f"{mean(name, metric):.4f} ± {result.test[metric]['std']:.4f}"


def gap(one: str, other: str, metric: str = "auc", dataset: str = DATASET) -> str:
    return f"{mean(one, metric, dataset) - mean(other, metric, dataset):+.4f}"


def ratios(model: str) -> dict[str, float]:
    """CPU after the longest history over that after the shortest, by what is timed."""
    return json.loads((RESULTS / "tracing-cost.json").read_text())["longest_of_shortest"][model]


CLAIMS = [
    f"the item mean has an AUC of {mean('item_mean', 'auc'):.4f}, PFA {mean('pfa', 'auc'):.4f}, DKT "
    f"{mean('dkt', 'auc'):.4f}; the true probabilities have {mean('dkt', 'oracle auc'):.4f}",
    f"SAKT has an AUC of {seeds('sakt', 'auc')}, {gap('sakt', 'dkt')} over DKT",
    f"CMKT's violations are {seeds('cmkt', 'violations')}, {seeds('cmkt-unconstrained', 'violations')} without the "
    f"constraint, at an AUC of {seeds('cmkt', 'auc')} against {seeds('cmkt-unconstrained', 'auc')}",
    f"Learnt mastery follows the true one no better for it: rank correlation {seeds('cmkt', 'mastery')} against "
    f"{seeds('cmkt-unconstrained', 'mastery')}",
    f"Hard mastery has none at all, and costs {gap('cmkt-hard', 'cmkt')} AUC; it is still {gap('cmkt-hard', 'pfa')} "
    f"over PFA",
    f"MF-DAKT has an AUC of {seeds('mfdakt', 'auc')}, {gap('mfdakt', 'pfa')} over PFA; its recent factor is "
    f"worth {gap('mfdakt', 'mfdakt-no-recent')} of that here, where students forget, and "
    f"{gap('mfdakt', 'mfdakt-no-recent', dataset=REMEMBERING)} where they do not",
    f"By a random split, which shows a model later answers of the same student, it has "
    f"{mean('mfdakt-leaking-random-split', 'auc'):.4f}",
    f"SFKT has an AUC of {seeds('sfkt', 'auc')}, {gap('sfkt', 'dkt')} over DKT, less than its seeds lie apart; "
    f"{gap('sfkt', 'sfkt-window-only')} over its window alone, from answer 101 on "
    f"{gap('sfkt', 'sfkt-window-only', 'auc 101-')}, and {gap('sfkt', 'sfkt-totals-only')} over its totals alone",
    f"Without the contrast it has {mean('sfkt-no-contrast', 'auc'):.4f}: that is worth "
    f"{gap('sfkt', 'sfkt-no-contrast')}, and {gap('sfkt', 'sfkt-no-contrast', 'auc 1-10')} in the first 10 answers",
    f"CMVF around PFA is {gap('cmvf-pfa', 'pfa')} AUC over it, {gap('cmvf-pfa', 'pfa', 'auc first')} in the first 10 "
    f"answers of new students, and {gap('cmvf-pfa', 'dkt')} over DKT",
    f"its modes recover the simulation's by an NMI of {seeds('cmvf-pfa', 'mode nmi')}",
    f"One mode costs {gap('cmvf-pfa-one-mode', 'cmvf-pfa')}, a plain vector without a prior "
    f"{gap('cmvf-pfa-plain-vector', 'cmvf-pfa')}, no divergence {gap('cmvf-pfa-no-divergence', 'cmvf-pfa')} at an NMI "
    f"of {seeds('cmvf-pfa-no-divergence', 'mode nmi')}",
    f"Around DKT it is {gap('cmvf', 'dkt')} over it, {gap('cmvf', 'dkt', 'auc first')} in those first 10, at an NMI of "
    f"{seeds('cmvf', 'mode nmi')}",
    f"Where the vector follows from who the student is, AUC is {mean('cmvf-pfa-id', 'auc'):.4f}, and by routing "
    f"{mean('cmvf-pfa-routing', 'auc'):.4f}",
    f"After 10,000 answers one more costs SFKT {ratios('sfkt')['step']:.2f} times what it does after 100, a question "
    f"{ratios('sfkt')['ask']:.2f} times",
    f"On synthetic5 the item mean has {mean('item_mean', 'auc', 'synthetic5'):.4f}, DKT "
    f"{mean('dkt', 'auc', 'synthetic5'):.4f}, PFA {mean('pfa', 'auc', 'synthetic5'):.4f}",
]
