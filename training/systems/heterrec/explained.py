"""Why HeterRec lists an item first: which tokens of the newest behaviours its score hangs on, by leaving each out.

Legend: R behaviours, the newest first, m tokens of an item.
"""

import numpy as np

from training.asking import Infer, Shown, Tensors, ordered
from training.data.sequences import item_layout
from training.interactions import Content, Interactions


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """One table: of each behaviour by how much the score falls without each of its tokens; above it the share of each
    kind of token in the sum of all changes."""
    best = answer["items"][:, ordered(answer["scores"][0])[:1]]
    effects = infer(f"{model}_tokens", {"history": request["history"], "item": best})["effects"][0]
    names = token_names(interactions)
    history = request["history"][0].tolist()[::-1][: len(effects)]
    of_kind = np.abs(effects).sum(axis=0)
    shares = ", ".join(
        f"{name} {share:.0%}" for name, share in zip(names, of_kind / max(of_kind.sum(), 1e-12), strict=True)
    )
    rows: list[list[object]] = [
        [_title(interactions, item), item, *(float(one) for one in effects[place])]
        for place, item in enumerate(history)
    ]
    title = (
        f"fall of the score of {_title(interactions, best[0, 0])} when a token is as the mean of its kind, newest first"
    )
    return [Shown((f"of all changes: {shares}",), title, ("title", "item", *names), rows)]


def token_names(interactions: Interactions) -> tuple[str, ...]:
    """The tokens of an item, in order."""
    schema = interactions.schema
    content = Content._fields if interactions.load_content else ()
    return *(field.name for field in item_layout(schema).fields), *content, schema.key("item").name


def _title(interactions: Interactions, item: int | str) -> str:
    return interactions.titles[interactions.dense("item", item if isinstance(item, str) else int(item))]
