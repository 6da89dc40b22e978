"""CMKT: counterfactual monotonic knowledge tracing.

Zhang et al., "Counterfactual Monotonic Knowledge Tracing for Assessing Students' Dynamic Mastery of Knowledge
Concepts", CIKM 2023, https://arxiv.org/abs/2308.03377

Only the abstract was at hand. It states: mastery of each concept is assessed from the answers; the last answer is
replaced by its opposite and mastery assessed again; the two are constrained by the monotonicity theory; an answer is
predicted from the mastery of the question's concepts less the difficulty of the question. Reconstructed: the
counterfactual starts from the same earlier state; the constraint, that a right answer leaves no less mastery than a
wrong one, is on the concepts that the answer practised. Our design: the recurrence, both forms of the constraint and
their weights, the form of the prediction, that a question's difficulty is its own beside its concepts', sizes.

Differs from the paper: unknown where it could not be read. The constraint compares two answers at one moment, not two
moments: mastery may still fall after a right answer. With `update="hard"`, which is ours, it cannot.
"""

from training.schema import Schema
from training.system import System
from training.systems.cmkt.config import Config
from training.systems.cmkt.evaluation import COLUMNS, evaluate
from training.systems.cmkt.hard import HardCMKT
from training.systems.cmkt.soft import SoftCMKT
from training.tasks.tracing import TRACING, variant_of

__all__ = ["SYSTEM", "Config", "HardCMKT", "SoftCMKT"]


def build(config: Config, schema: Schema) -> SoftCMKT | HardCMKT:
    """The form that is configured."""
    return HardCMKT(config, schema) if config.update == "hard" else SoftCMKT(config, schema)


def variant(config: Config) -> str:
    """Update or constraint, and the split."""
    soft = config.update == "soft"
    chosen = {
        "hard": not soft,
        "unconstrained": soft and not config.monotonicity,
        "smooth": soft and config.monotonicity > 0 and config.constraint == "smooth",
        variant_of(config): bool(variant_of(config)),
    }
    return "-".join(name for name, is_so in chosen.items() if is_so)


SYSTEM = System(
    name="cmkt",
    title="CMKT: counterfactual monotonic knowledge tracing",
    paper="https://arxiv.org/abs/2308.03377",
    provenance="states: mastery, flipped last answer, monotonicity, mastery less difficulty; reconstructed: same "
    "earlier state, practised concepts; our design: recurrence, forms and weights of the constraint, hard update",
    task=TRACING,
    config=Config,
    baseline="dkt",
    build=build,
    evaluate=evaluate,
    columns=COLUMNS,
    variant=variant,
    quick={"dim": 8, "hidden": 12},
)
