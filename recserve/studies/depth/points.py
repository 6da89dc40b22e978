"""HeterRec, and the stack over items with as many parameters, from recorded results by the number of blocks.

A result that was not recorded leaves a gap, and the command that records it is told.
"""

from collections.abc import Callable

from recserve import results
from training.systems.heterrec import SYSTEM, Config

LAYERS = (2, 4, 8)
WAYS: dict[str, Callable[[int], Config]] = {
    "tokens, then items": lambda layers: Config(token_layers=layers // 2, item_layers=layers // 2),
    "items alone, as many parameters": lambda layers: Config(token_layers=0, item_layers=layers),
}
METRIC = "ndcg10"


def recorded(dataset: str) -> dict[str, dict[int, results.Result]]:
    """Way -> blocks -> result."""
    found = {}
    for way, of in WAYS.items():
        names = {layers: results.named(SYSTEM.name, SYSTEM.variant(of(layers))) for layers in LAYERS}
        read = {layers: results.read(SYSTEM.task.name, dataset, name) for layers, name in names.items()}
        found[way] = {layers: result for layers, result in read.items() if result is not None}
    return found


def commands(dataset: str, found: dict[str, dict[int, results.Result]]) -> list[str]:
    """What records the results that are missing, with as many epochs as those that are there."""
    passes = {result.config["epochs"] for of in found.values() for result in of.values() if "epochs" in result.config}
    told = f"--config.epochs {max(passes)} " if passes else ""
    return [
        f"recserve train {SYSTEM.name} --dataset {dataset} --config.token-layers {one.token_layers} "
        f"--config.item-layers {one.item_layers} {told}--seeds 3 --record"
        for way, of in WAYS.items()
        for layers in LAYERS
        if layers not in found[way]
        for one in (of(layers),)
    ]


def slope(found: dict[int, results.Result]) -> float | None:
    """What twice as many blocks add to NDCG@10, from the fewest to the most that were recorded; None for one alone."""
    if len(found) < 2:
        return None
    few, most = min(found), max(found)
    doublings = LAYERS.index(most) - LAYERS.index(few)
    return (found[most].test[METRIC]["mean"] - found[few].test[METRIC]["mean"]) / doublings
