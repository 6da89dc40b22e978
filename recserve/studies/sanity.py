"""`recserve study sanity`: is our DeepFM what others call DeepFM?

One protocol on which three public libraries were measured: MovieLens-100k, label 1 for a rating of 4 or more, the 8
fields of `training.data.movielens.load_fields`, random parts of 80, 10 and 10 %, 3 epochs. There DeepFM reaches a test
AUC of .7717 in deepctr-torch, .7753 in FuxiCTR and .7760 in torch-rechub. Random parts look ahead, so the figure says
nothing about ranking the future: it only shows that data, model, optimiser and metric together are no worse and no
better than they should be.

The parts and the size of a batch are not published with those figures, and both move the AUC. So the mean over several
random parts counts, at a batch of 2,048, which was chosen in sight of those figures.
"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from training.baselines import deepfm
from training.data import movielens
from training.data.fields import FieldData, shuffled
from training.fit import FitOptions, fit
from training.layers.fields import FieldConfig

PUBLISHED = {"deepctr-torch": 0.7717, "FuxiCTR": 0.7753, "torch-rechub": 0.7760}
EPOCHS = 3
CONFIG = FieldConfig(epochs=EPOCHS, batch_size=2048)


@dataclass(frozen=True, kw_only=True)
class Sanity(Command):
    """Train DeepFM on random parts of MovieLens-100k and compare its AUC with three public libraries'.

    3 epochs each; exits with 1 where the mean is not in their range.
    """

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


def published_protocol_auc(data: FieldData, seed: int, run: Path) -> float:
    """Test AUC of DeepFM on random parts, both of this seed; `run` is a new folder for the run."""
    result = fit(deepfm.SYSTEM, CONFIG, shuffled(data, seed), FitOptions(run=run, seed=seed, quiet=True))
    return result.metrics["test"]["auc"]
