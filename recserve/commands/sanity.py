"""`recserve sanity`: is our DeepFM as good as other libraries' on their protocol?"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from training.data import movielens
from training.sanity import PUBLISHED, published_protocol_auc


@dataclass(frozen=True, kw_only=True)
class Sanity(Command):
    """Train DeepFM on random parts of MovieLens-100k for 3 epochs and compare its AUC with three public libraries'."""

    parts: int = 3
    """Random partitions, over which the mean is taken."""

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise ValueError(f"--parts is {self.parts}; it must be at least 1")

    def run(self) -> int:
        data = movielens.load_fields()
        with tempfile.TemporaryDirectory() as folder:
            measured = [published_protocol_auc(data, seed, Path(folder) / str(seed)) for seed in range(self.parts)]
        mean = statistics.fmean(measured)
        low, high = min(PUBLISHED.values()), max(PUBLISHED.values())
        rows = [*PUBLISHED.items(), *((f"ours, parts {seed}", auc) for seed, auc in enumerate(measured))]
        show(self.console, table("DeepFM on random parts, test AUC", ["library", "AUC"], [*rows, ("ours, mean", mean)]))
        inside = low <= mean <= high
        said = "in the range of" if inside else "[red]outside[/] the range of"
        self.console.print(f"our mean {mean:.4f} is {said} {low:.4f} to {high:.4f}", highlight=False)
        self.emit({"published": PUBLISHED, "auc": measured, "mean": mean, "inside": inside})
        return 0 if inside else 1
