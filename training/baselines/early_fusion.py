"""Early fusion: DIN's attention over item vectors into which what is known of an item's content is projected (our
design).

The vector of an item is that of its id and fields plus one projection of each modality's frozen vector, so that the
modalities are fused once for each item, before anything is known of the behaviour around it. Modalities: text (title)
and graph (attributes or a knowledge graph), no images. An item without a vector of a modality gets none added.

Legend: B batch, N items, D width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import HISTORY, ClickData
from training.data.columns import Layout, profile_layout
from training.layers.activation import ActivationConfig, LocalActivation
from training.layers.item_content import MODALITIES, ItemContent
from training.layers.items import ItemTable
from training.needs import TEXTS
from training.schema import Field, Schema
from training.system import System
from training.tasks.click import CLICK


class FusedItems(ItemTable):
    """Item vector = what the table of items says + sum over modalities of P_m v_m."""

    def __init__(self, key: Field, layout: Layout, dim: int) -> None:
        super().__init__(key, layout, dim)
        self.content = ItemContent(self.ids.shape[0])
        self.projections = nn.ModuleDict(
            {name: nn.Linear(width, dim, bias=False) for name, width in MODALITIES.items()}
        )

    def worked_out(self) -> Float[Tensor, "N D"]:
        """Vectors of all items."""
        vectors = super().worked_out()
        for name, projection in self.projections.items():
            vectors = vectors + projection(self.content.get_buffer(name))
        return vectors


class EarlyFusion(LocalActivation):
    """The activation unit over fused item vectors."""

    def __init__(self, config: ActivationConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.tables.items = FusedItems(schema.key("item"), profile_layout(schema).of("item"), config.dim)

    def prepare(self, data: ClickData) -> None:
        """Fill all tables from the training part, and the items' vectors."""
        super().prepare(data)
        assert isinstance(self.tables.items, FusedItems)
        self.tables.items.content.prepare(data.interactions.content)


SYSTEM = System(
    name="early_fusion",
    title="Early fusion: text and graph vectors in the item vectors of target attention",
    paper="",
    provenance="our design; modalities are text and graph",
    task=CLICK,
    config=ActivationConfig,
    baseline="din",
    build=EarlyFusion,
    reads=frozenset({HISTORY}),
    needs=(TEXTS,),
    quick={"max_length": 12},
)
