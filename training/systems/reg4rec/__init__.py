"""REG4Rec: reasoning-enhanced generative recommendation.

Alibaba International, ICDE 2026, https://arxiv.org/abs/2508.15308

Only the abstract, public summaries and the overview figure were at hand. They state: M parallel codebooks whose tokens
are unordered (MPQ); an encoder-decoder transformer that chooses at each step the codebook by its confidence (CRSS);
four rewards (step-hit, global path, category-hit, step-consistency) and GRPO (PARS) over a window of future items with
decaying weights (MSRA); paths whose steps disagree in category are dropped while decoding (CORP). Reconstructed from
the figure: a category is predicted at each step from the state and the token; the rewards, which its eight examples
confirm. Our design: confidence as one softmax over all unused codebooks, orders in training, weights and sizes, the
threshold and floor of pruning, masks for sets that are no item, merging, the order of the list.

Differs from the paper: unknown where it could not be read. The tokens of a history's item are merged into one position
and the encoder is causal, so that each place of a history trains in one pass; a path starts from the newest state; its
end is implied after M tokens and not scored. Rollouts are used for one step. Tokens of weight 0 (MMQ-v2) are no targets
of the supervised stage and come last in it; histories, rewards and decoding treat them as any other, as only the whole
set of tokens leads to an item.
"""

from dataclasses import replace

from training.system import Column, Stage, System, Upstream
from training.systems.reg4rec import preference, supervised
from training.systems.reg4rec.config import GPU, Config
from training.systems.reg4rec.evaluation import evaluate
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.servables import explained, servables
from training.tasks.next_item import NEXT_ITEM

__all__ = ["GPU", "SYSTEM", "Config", "Reg4Rec"]


def stages(config: Config) -> tuple[Stage, ...]:
    """Supervised, then preference."""
    first = replace(NEXT_ITEM.stage(config), name="supervised", loss=supervised.loss)
    second = replace(
        first,
        name="preference",
        loss=preference.loss,
        epochs=config.preference_epochs,
        batch_size=config.preference_batch_size,
        learning_rate=config.preference_rate,
    )
    return (first, second) if config.preference_epochs else (first,)


def upstream(config: Config) -> tuple[Upstream, ...]:
    """The tokenizer's run; LETTER's ids are published with the data."""
    if config.ids == "letter":
        return ()
    sizes = {"codebooks": config.codebooks, "words": config.words}
    return (Upstream(system=config.ids, config={name: size for name, size in sizes.items() if size is not None}),)


SYSTEM = System(
    name="reg4rec",
    title="REG4Rec: reasoning-enhanced generation of semantic ids",
    paper="https://arxiv.org/abs/2508.15308",
    provenance="states: parallel codebooks, order by confidence, four rewards, GRPO over future items, pruning by "
    "category; reconstructed: category head, rewards; our design: everything with a number",
    task=NEXT_ITEM,
    config=Config,
    gpu=GPU,
    baseline="tiger",
    build=Reg4Rec,
    stages=stages,
    evaluate=evaluate,
    columns=(
        Column(title="NDCG@10 before stage 2", metric="ndcg10 after supervised"),
        Column(title="NDCG@10 with CORP", metric="corp_ndcg10"),
        Column(title="pruned share", metric="pruned_share", direction=None),
    ),
    upstream=upstream,
    served=servables,
    explained=explained,
    quick={
        "max_length": 12,
        "codebooks": 2,
        "words": 16,
        "dim": 16,
        "encoder_layers": 1,
        "rollouts": 4,
        "beams": 8,
    },
    variant=lambda config: "" if config.ids == Config().ids else config.ids,
)
