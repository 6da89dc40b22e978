"""HeterRec: what is known of an item as tokens, a transformer over tokens and one over items, lists of next items.

Deng et al., "HeterRec: Heterogeneous Information Transformer for Scalable Sequential Recommendation", SIGIR 2025,
https://arxiv.org/abs/2503.01469

Only the abstracts and public summaries were at hand. They state: items as one token for each kind of information (id,
category, price, text, image); a hierarchical causal transformer, over tokens and over items; listwise multi-step
prediction. Reconstructed: the projections of the tokens and both levels. Our design: everything that is an equation in
`model`, `loss` and `relevance`, merging by a layer over all tokens, the id as the last token, the item tower, the loss
over the whole catalogue, gamma from the data, unknown ids in training, all sizes.

Differs from the paper: unknown where it could not be read. The modalities are text and graph (attributes or a knowledge
graph), no images; tokens are those that the data set has. Positions count from the first item that is read, so that an
event is added to what earlier ones left as long as a history has no more than `max_length` items.
"""

from training.data.sequences import CONTENT
from training.system import System
from training.systems.heterrec.explained import explained
from training.systems.heterrec.model import Config, HeterRec
from training.systems.heterrec.servables import servables
from training.tasks.next_item import NEXT_ITEM

__all__ = ["GPU", "SYSTEM", "Config", "HeterRec"]

GPU = Config(
    dim=256,
    token_layers=4,
    item_layers=4,
    heads=8,
    steps=5,
    epochs=100,
    batch_size=512,
    learning_rate=1e-3,
    patience=10,
)
"""A run for an accelerator; here it was only started."""


def variant(config: Config) -> str:
    """What tables compare: the list, the weight of its steps where it is given, the mask, the layers of each level."""
    default = Config()
    levels = (config.token_layers, config.item_layers)
    stack = f"tokens{levels[0]}-items{levels[1]}" if all(levels) else f"items{levels[1]}" if levels[1] else "tokens"
    parts = [
        f"k{config.steps}" if config.steps != default.steps else "",
        "independent" if config.order != default.order else "",
        f"gamma{config.gamma:g}" if config.gamma is not None else "",
        "block" if config.mask != default.mask else "",
        stack if levels != (default.token_layers, default.item_layers) else "",
    ]
    return "-".join(part for part in parts if part)


SYSTEM = System(
    name="heterrec",
    title="HeterRec: tokens of items, two levels of attention, lists of next items",
    paper="https://arxiv.org/abs/2503.01469",
    provenance="states: tokens by kind of information, causal transformers over tokens and items, listwise multi-step "
    "prediction; reconstructed: both levels; our design: all formulas, item tower, gamma from the data, sizes",
    task=NEXT_ITEM,
    config=Config,
    gpu=GPU,
    baseline="fused_sasrec",
    controls=("sasrec",),
    build=HeterRec,
    reads=frozenset({CONTENT}),
    served=servables,
    explained=explained,
    variant=variant,
    quick={"max_length": 12, "dim": 16, "batch_size": 32, "steps": 3},
)
