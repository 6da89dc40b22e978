"""What SFKT can be told."""

from dataclasses import dataclass
from typing import Literal

from training.tasks.tracing import TracingConfig, variant_of


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes, training, and what may be left out."""

    max_length: int = 10_000
    """Answers of a training sample: all of them, as counts are from the first answer on."""
    dim: int = 32
    """Width of all vectors."""
    heads: int = 2
    """Attention heads."""
    window: int = 50
    """Newest answers that are looked at one by one."""
    dropout: float = 0.2
    """Share of elements dropped after attention."""
    past: Literal["both", "window", "totals"] = "both"
    """Parts of the past that are read: counts of all his answers and the newest ones, the newest ones alone, or
    the counts alone."""
    kin: bool = False
    """Bias of the window's heads to answers that share a concept with the question: it need not learn which they are,
    and has the more to hold against the counts."""
    contrast: float = 0.1
    """Weight of the contrast of changed histories, and of the answers after them; 0 leaves both out."""
    learning_rate: float = 3e-3
    """Rate of AdamW."""

    def __post_init__(self) -> None:
        if self.window < 1 or self.contrast < 0:
            raise ValueError(f"window is {self.window}, contrast {self.contrast}; must be at least 1 and 0")
        if self.kin and self.past == "totals":
            raise ValueError("kin is of the window; past is totals, which has none")


def variant(config: Config) -> str:
    """What is left out, and the split where it is not the task's own."""
    parts = [
        f"{config.past}-only" if config.past != "both" else "",
        "kin" if config.kin else "",
        "no-contrast" if not config.contrast else "",
        variant_of(config),
    ]
    return "-".join(part for part in parts if part)
