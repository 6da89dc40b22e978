"""What CSMF and its controls can be told."""

from dataclasses import dataclass
from typing import Literal

from training.layers.tower_pair import TowerConfig
from training.settings import or_none

Way = Literal["masks", "naive", "mixed", "last", "towers"]


@dataclass(frozen=True, kw_only=True)
class Config(TowerConfig):
    """Sizes, stages and losses."""

    way: Way = "masks"
    """Whole system, or a control: naive fine-tunes one network on an objective after the other, mixed trains it on all
    of them at once, last on the last alone, towers gives each objective a narrow pair of towers of its own."""
    tau: float = 0.5
    """Share of each layer's sum of magnitudes that is given to the next objective."""
    gamma: float = 0.1
    """Largest margin of the adaptive margin loss; 0 makes it the softmax."""
    refused: int = or_none(1)
    """Negatives of a user that went as far as the objective before and no farther, drawn for each step; 0 leaves them
    out."""
    temperature: float = 0.1
    """Divisor of the products in the loss, and of what the margin compares."""
    recovery: float = 0.2
    """Share of an objective's samples on which what was kept of its weights is trained again."""
    recovery_epochs: int = 5
    """Passes over them at most."""

    def __post_init__(self) -> None:
        if not 0 < self.tau < 1:
            raise ValueError(f"tau is {self.tau}; it must be between 0 and 1")
        if not 0 < self.recovery <= 1 or self.recovery_epochs < 1:
            raise ValueError(
                f"recovery ({self.recovery}) must be above 0 and at most 1, recovery_epochs ({self.recovery_epochs}) "
                "at least 1"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")


def variant(config: Config) -> str:
    """The control, or what is off."""
    parts = [
        config.way if config.way != "masks" else "",
        "no-margin" if config.gamma == 0 else "",
        "no-refused" if config.refused == 0 else "",
    ]
    return "-".join(part for part in parts if part)
