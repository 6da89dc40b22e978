"""Is our DeepFM what others call DeepFM? One protocol on which three public libraries were measured.

MovieLens-100k, label 1 for a rating of 4 or more, the 8 fields of `training.data.movielens.load_fields`, random parts
of 80, 10 and 10 %, 3 epochs. There DeepFM reaches a test AUC of .7717 in deepctr-torch, .7753 in FuxiCTR and .7760 in
torch-rechub. Random parts look ahead, so the figure says nothing about ranking the future: it only shows that data,
model, optimiser and metric together are no worse and no better than they should be.

The parts and the size of a batch are not published with those figures, and both move the AUC. So the mean over several
random parts counts, at a batch of 2,048, which was chosen in sight of those figures.
"""

from pathlib import Path

from training.baselines import deepfm
from training.data.fields import FieldData, shuffled
from training.fit import FitOptions, fit
from training.layers.fields import FieldConfig

PUBLISHED = {"deepctr-torch": 0.7717, "FuxiCTR": 0.7753, "torch-rechub": 0.7760}
EPOCHS = 3
CONFIG = FieldConfig(epochs=EPOCHS, batch_size=2048)


def published_protocol_auc(data: FieldData, seed: int, run: Path) -> float:
    """Test AUC of DeepFM on random parts, both of this seed; `run` is a new folder for the run."""
    result = fit(deepfm.SYSTEM, CONFIG, shuffled(data, seed), FitOptions(run=run, seed=seed, quiet=True))
    return result.metrics["test"]["auc"]
