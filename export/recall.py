"""The rung `recall`: what an approximate index finds of the exact lists, on the golden requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from serving.ann_index import facts_of
from serving.in_process import Here
from serving.steps.ann import AnnStep
from serving.steps.step import Tensors


class Recall(NamedTuple):
    """Of the index of one version folder."""

    folder: Path

    def of(self, requests: Sequence[Tensors]) -> tuple[float, float]:
        """Share that is found, and the least that its export promised."""
        step = AnnStep(Here(self.folder.parent.parent, "cpu"), self.folder)
        return step.recall(requests), facts_of(self.folder).least_recall
