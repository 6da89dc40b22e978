"""CHIME: a compressive framework for holistic interest modeling.

Bai, Xiang, Li, Tang et al., Kuaishou, 2025, https://arxiv.org/abs/2504.06780

Only the abstract and public summaries were at hand. They state: adaptation of heterogeneous inputs (ids, actions; text
and images through frozen encoders and GLU projectors); a decoder-only language model over the whole history by input
vectors, without tokenizer and text embedding; holistic and immediate contrastive objectives; residual quantisation that
compresses the history into compact histograms; use by existing rankers. Reconstructed: input vectors as sums, every
place a loss, attention over words by counts. Our design: all formulas and sizes, attention within a window, so that one
event is added to a state at a cost that does not know the history; the recent histogram; codes in fp64; a ranker that
has words as a copy of its own.

Differs from the paper: unknown where it could not be read. The modalities are text and graph (attributes or a knowledge
graph), no images. The transformer starts from random weights; `LARGE` has a language model's size and is to be trained
on a GPU. It sees the newest events within its window at each place, and the histogram alone has all of a life.
"""

from dataclasses import replace

from torch import Tensor, nn

from training.data.click import AGES, HISTORY, ClickBatch
from training.needs import TEXTS
from training.system import Column, Stage, System
from training.systems.chime.compressor import Config
from training.systems.chime.evaluation import evaluate
from training.systems.chime.explained import explained
from training.systems.chime.model import CHIME
from training.systems.chime.sequences import SequenceBatch, Sequences, compress_loss
from training.systems.chime.servables import servables
from training.tasks.click import CLICK

__all__ = ["CHIME", "LARGE", "SYSTEM", "Config", "stages"]

LARGE = Config(
    dim=64,
    max_length=16_384,
    width=896,
    depth=24,
    heads=14,
    window=512,
    projected=128,
    interest=128,
    words=256,
    negatives=4_096,
    sequence=2_048,
    compress_batch=8,
    compress_rate=1e-4,
)
"""The width, depth and heads of a small language model, 230 million weights in its blocks, for a GPU."""


def stages(config: Config) -> tuple[Stage, ...]:
    """The compressor, by what its interests find; then, with it frozen, the ranker."""

    def compress(module: nn.Module, batch: SequenceBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, CHIME)
        return compress_loss(module.compressor, batch)

    def rank(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, CHIME)
        logits = module.logits(batch, module.remembered(batch))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.label)
        return loss, {"loss": loss.detach()}

    first = Stage(
        name="compress",
        loss=compress,
        parameters=lambda module: module.get_submodule("compressor").parameters(),
        epochs=config.compress_epochs,
        batch_size=config.compress_batch,
        learning_rate=config.compress_rate,
        samples=lambda data: Sequences(data, config.sequence),
        patience=3,
        monitor="next_mrr",
    )
    return first, replace(CLICK.stage(config), name="rank", loss=rank, parameters=ranker)


def ranker(module: nn.Module) -> list[nn.Parameter]:
    """All but the compressor's."""
    return [value for name, value in module.named_parameters() if not name.startswith("compressor.")]


def variant(config: Config) -> str:
    """What tables compare: an objective that is off, fewer levels, a history that is cut."""
    off = [f"no-{name}" for name in ("holistic", "immediate") if not getattr(config, name)]
    levels = [] if config.levels == Config.levels else [f"levels{config.levels}"]
    cut = [f"last{config.max_length}"] if config.max_length < Config.max_length else []
    return "-".join((*off, *levels, *cut))


SYSTEM = System(
    name="chime",
    title="CHIME: histograms of a life's interests",
    paper="https://arxiv.org/abs/2504.06780",
    provenance="states: three modules, frozen encoders and GLU, two contrastive objectives, residual quantisation to "
    "histograms; reconstructed: attention by counts; our design: formulas, window, recent histogram, fp64 codes, sizes",
    task=CLICK,
    config=Config,
    baseline="din",
    controls=("mean_pooling", "lrea"),
    quick={
        "max_length": 40,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "window": 6,
        "interest": 16,
        "levels": 2,
        "recent": 6,
        "negatives": 64,
        "compress_epochs": 3,
        "compress_batch": 8,
        "sequence": 16,
    },
    build=CHIME,
    reads=frozenset({HISTORY, AGES}),
    needs=(TEXTS,),
    stages=stages,
    evaluate=evaluate,
    columns=(
        Column(title="MRR of the next liked item", metric="next_mrr"),
        Column(title="spread that quantisation leaves", metric="left", direction="min"),
    ),
    served=servables,
    explained=explained,
    variant=variant,
)
