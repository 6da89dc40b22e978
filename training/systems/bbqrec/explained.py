"""Why BBQRec lists what it lists: the earlier items whose codes an item shares, by how much of them attention takes."""

import numpy as np

from training.asking import Infer, Shown, Tensors
from training.interactions import Interactions, RawId
from training.layers.served_lists import HISTORY
from training.systems.bbqrec.servables import LISTED

MOST = 5
"""Earlier items of one listed item."""


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """One table: for the first of the list the earlier items that are alike, most attention first. `alike` is the
    length of the common prefix (or the eighth of the cosine) in each source, in the order of the codes."""
    listed, history = answer["items"][:, :LISTED], request[HISTORY.name]
    found = infer(f"{model}_reasons", {HISTORY.name: history, "listed": listed})
    read = history[0][-found["bent"].shape[1] :]
    rows: list[list[object]] = []
    for number, raw in enumerate(listed[0].tolist()):
        if item := interactions.dense("item", raw):
            alike = found["alike"][0, number, :, : len(read)]
            places = [
                place for place in np.argsort(-found["bent"][0, : len(read)], kind="stable") if alike[:, place].any()
            ]
            title = interactions.titles[item]
            rows += [
                [title, *_place(interactions, read[place], alike[:, place], found, place)] for place in places[:MOST]
            ]
            if not places:
                rows.append([title, "none of the history", "", "", ""])
    return [Shown((), "earlier items that are alike", ("title", "earlier", "alike", "weight", "without"), rows)]


def _place(interactions: Interactions, raw: RawId, alike: np.ndarray, found: Tensors, place: int) -> list[object]:
    """Title, prefix lengths, and the attention with and without what similarity adds."""
    earlier = interactions.dense("item", raw)
    weights = (float(found[name][0, place]) for name in ("bent", "plain"))
    return [interactions.titles[earlier], " ".join(map(str, alike.tolist())), *weights]
