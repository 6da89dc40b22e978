"""Figures of others on the splits that ours are measured on, with their sources, and ours beside them.

Only what was read at its source stands here. All rank all items but those of the history and of validation. With one
target Recall@k is HR@k; the figures of Gowalla and of beauty divide by all test items of a user, as ours do. The first
table of S3-Rec counts the events of the test part in its popularity.
"""

from typing import NamedTuple

from loadtest.published import table
from recserve import results
from recserve.results import Result
from recserve.studies.sanity_sequences import PUBLISHED as SEQUENCES
from training.registry import SYSTEMS
from training.system import Task
from training.tasks.next_item import NEXT_ITEM
from training.tasks.retrieval import RETRIEVAL

_S3REC = "Zhou et al. 2020 (S3-Rec)"
_BARS = "BARS, gowalla_m1"
_LIGHTGCN = "LightGCN-PyTorch, README"
_GIFFCF = "GiffCF, README; recall divides by at most 20"

_CALLED = {"sasrec": "SASRec", "tiger": "TIGER", "reg4rec-letter": "LETTER"}
"""Ours -> theirs, of which the table of sequences has figures."""


class Figure(NamedTuple):
    """One row of somebody's table."""

    dataset: str
    system: str
    source: str
    recall: float
    ndcg: float


AT_20 = (
    Figure("beauty", "popularity, test part counted", _S3REC, 0.0217, 0.0084),
    Figure("beauty", "SASRec", _S3REC, 0.0902, 0.0394),
    Figure("beauty", "BERT4Rec", _S3REC, 0.0599, 0.0233),
    Figure("beauty", "S3-Rec", _S3REC, 0.0994, 0.0414),
    Figure("sports", "popularity, test part counted", _S3REC, 0.0192, 0.0078),
    Figure("sports", "SASRec", _S3REC, 0.0507, 0.0231),
    Figure("sports", "BERT4Rec", _S3REC, 0.0315, 0.0130),
    Figure("sports", "S3-Rec", _S3REC, 0.0607, 0.0260),
    Figure("gowalla", "ItemCF", _BARS, 0.1570, 0.1214),
    Figure("gowalla", "MF-BPR", _BARS, 0.1627, 0.1378),
    Figure("gowalla", "NGCF", _BARS, 0.1570, 0.1327),
    Figure("gowalla", "MultVAE", _BARS, 0.1641, 0.1335),
    Figure("gowalla", "YoutubeDNN", _BARS, 0.1754, 0.1473),
    Figure("gowalla", "EASE", _BARS, 0.1765, 0.1467),
    Figure("gowalla", "LightGCN", _BARS, 0.1820, 0.1547),
    Figure("gowalla", "LightGCN, 3 layers", _LIGHTGCN, 0.1824, 0.1547),
    Figure("gowalla", "UltraGCN", _BARS, 0.1862, 0.1580),
    Figure("gowalla", "SimpleX", _BARS, 0.1872, 0.1557),
    Figure("ml-1m-clean", "GiffCF, of the paper", _GIFFCF, 0.1947, 0.1221),
    Figure("ml-1m-clean", "GiffCF, newer", _GIFFCF, 0.2024, 0.1272),
)
"""Recall@20 and NDCG@20 of systems that retrieve."""
AT_10 = (
    Figure("beauty", "popularity, test part counted", _S3REC, 0.0152, 0.0068),
    Figure("beauty", "BERT4Rec", _S3REC, 0.0347, 0.0170),
    Figure("beauty", "S3-Rec", _S3REC, 0.0647, 0.0327),
    Figure("sports", "popularity, test part counted", _S3REC, 0.0094, 0.0053),
    Figure("sports", "BERT4Rec", _S3REC, 0.0191, 0.0099),
    Figure("sports", "S3-Rec", _S3REC, 0.0385, 0.0204),
    *(
        Figure(one.dataset, _CALLED[one.system], one.source, one.recall10, one.ndcg10)
        for one in SEQUENCES
        if one.comparable
    ),
)
"""Recall@10 and NDCG@10 of models of sequences; as in `recserve study sanity-sequences`, and others."""
_TABLES = ((RETRIEVAL, AT_20, 20), (NEXT_ITEM, AT_10, 10))


def markdown() -> str:
    """Two GitHub tables: of what retrieves, and of models of sequences."""
    return "\n\n".join("\n".join(_table(*one)) for one in _TABLES)


def _table(task: Task, figures: tuple[Figure, ...], cutoff: int) -> list[str]:
    rows = []
    for dataset in dict.fromkeys(one.dataset for one in figures):
        theirs = [one for one in figures if one.dataset == dataset]
        rows += [[dataset, one.system, one.source, f"{one.recall:.4f}", f"{one.ndcg:.4f}"] for one in theirs]
        rows += [_own(one, cutoff) for one in ours(task, dataset)]
    return table([f"{task.title}, on splits of others", "system", "source", f"Recall@{cutoff}", f"NDCG@{cutoff}"], rows)


def ours(task: Task, dataset: str) -> list[Result]:
    """Recorded results of the systems of a task as they are by default, and of those that have a counterpart."""
    recorded = (one for system in SYSTEMS.values() if system.task is task for one in results.of_system(system))
    return [one for one in recorded if one.dataset == dataset and (not one.variant or one.name in _CALLED)]


def _own(result: Result, cutoff: int) -> list[str]:
    means = (f"{result.test[f'{metric}{cutoff}']['mean']:.4f}" for metric in ("recall", "ndcg"))
    return [
        result.dataset,
        result.name,
        "ours, one seed" if len(result.seeds) == 1 else f"ours, mean of {len(result.seeds)} seeds",
        *means,
    ]
