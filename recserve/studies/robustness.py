"""What MATT-CTR and SGCTR gain over their bases, as a table for docs/results.md: all rows, rare and damaged ones."""

import math

from recserve import results
from training.systems.matt import SYSTEM as MATT
from training.systems.sgctr import SYSTEM as SGCTR

_SLICES = {
    "": "all rows",
    "rare_": "rare combinations",
    "head_": "the others",
    "corrupt1_": "1 field damaged",
    "corrupt2_": "2 fields",
    "corrupt3_": "3 fields",
}
_T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for a two-sided interval of 95 % over so many seeds."""


def markdown() -> str:
    """A GitHub table: gain of AUC with its interval of 95 % over the seeds, and the mean gain of GAUC."""
    header = ["AUC over its base", "data", *_SLICES.values(), "GAUC, all rows"]
    both = [*results.of_system(MATT), *results.of_system(SGCTR)]
    found = sorted(both, key=lambda result: (result.name, result.dataset))
    rows = [[result.name, result.dataset, *_gains(result)] for result in found]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


def _gains(result: results.Result) -> list[str]:
    within_users = result.test["gauc"]["mean"] - result.test["base_gauc"]["mean"]
    return [*(_gain(result, f"{prefix}gain") for prefix in _SLICES), f"{within_users:+.4f}"]


def _gain(result: results.Result, metric: str) -> str:
    if metric not in result.test:
        return ""
    seeds = len(result.seeds)
    half = _T_95[seeds] * result.test[metric]["std"] / math.sqrt(seeds) if seeds in _T_95 else math.nan
    return f"{result.test[metric]['mean']:+.4f} ± {half:.4f}"
