"""Sizes, training and controls of MF-DAKT."""

from dataclasses import dataclass
from typing import Literal

from training.tasks.tracing import TracingConfig, variant_of

Recent = Literal["forgetting", "last", "none"]
Subspaces = Literal["both", "interaction", "sum"]


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes, training and controls."""

    learning_rate: float = 0.001
    """Rate of AdamW."""
    dim: int = 16
    """Width of all vectors."""
    hidden: int = 32
    """Hidden units of both attentions and of the difficulty heads."""
    dropout: float = 0.3
    """Share of elements dropped in all networks."""
    longest_interval: int = 1_000
    """Answers since a concept was last practised: more count as so many."""
    unknown_rate: float = 0.9
    """Share of the training answers whose student is read as one of whom nothing is known; with less, vectors of
    students learn their few answers by heart."""
    student_rate: float = 5e-4
    """Rate of AdamW for the vectors of students, of whom each has few answers."""
    difficulty_weight: float = 1.0
    """Weight of each subspace's regulariser, by which its question vectors tell the questions'
    difficulties; 0 is without."""
    pretraining: bool = True
    """Pre-training of question vectors, by relation and difficulty, before there are answers."""
    pretraining_epochs: int = 4
    """Epochs of that, each of at least 2^14 questions."""
    pretraining_rate: float = 1e-2
    """Rate of AdamW meanwhile."""
    relation: Literal["max", "min"] = "max"
    """Divisor of the number of concepts that two questions share: that of the one with more, or with fewer."""
    recent: Recent = "forgetting"
    """The recent factor: the last result on a concept, which is forgotten; the last result alone; or none."""
    attention: bool = True
    """Weighing of factors and interactions; else all count alike."""
    subspaces: Subspaces = "both"
    """Subspaces of the factors: they interact, are summed, or both."""
    counts: Literal["log", "raw"] = "log"
    """log(1 + n) of right and of wrong answers, or n."""
    max_length: int = 10_000
    """Answers of a training sample: all of them, as counts are from the first answer on."""
    batch_size: int = 32
    """Students of a training step, over all processes."""
    patience: int = 2
    """Epochs without a better auc on validation before training stops."""

    def __post_init__(self) -> None:
        for name in ("dropout", "unknown_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")
        if self.longest_interval < 1 or self.pretraining_epochs < 1:
            raise ValueError(
                f"longest_interval ({self.longest_interval}) and pretraining_epochs ({self.pretraining_epochs}) "
                "must be at least 1"
            )


def variant(config: Config) -> str:
    """What is off or otherwise, and the split."""
    parts = [
        {"forgetting": "", "last": "no-forgetting", "none": "no-recent"}[config.recent],
        "" if config.pretraining else "no-pretraining",
        "" if config.attention else "no-attention",
        "" if config.subspaces == "both" else f"{config.subspaces}-alone",
        "raw-counts" if config.counts == "raw" else "",
        "" if config.difficulty_weight else "no-difficulty",
        "min-relation" if config.relation == "min" else "",
        variant_of(config),
    ]
    return "-".join(part for part in parts if part)
