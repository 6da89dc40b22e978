"""Why S-Diff answers so: how much of the user lies in which frequencies, before and after decoding."""

from training.asking import Infer, Shown, Tensors
from training.interactions import Interactions


def explained(infer: Infer, model: str, _data: Interactions, request: Tensors, _answer: Tensors) -> list[Shown]:
    """One table: of each band of frequencies its energy as a share of the user's."""
    found = {name: one[0] for name, one in infer(f"{model}_bands", {"history": request["history"]}).items()}
    shares = {name: found[name] / max(float(found[name].sum()), 1e-12) for name in ("before", "after")}
    rows: list[list[object]] = []
    first = 0.0
    for number, last in enumerate(found["last"].tolist()):
        rows.append(
            [
                f"{first:.3f} to {last:.3f}",
                *(float(found[name][number]) for name in shares),
                *(float(one[number]) for one in shares.values()),
            ]
        )
        first = last
    columns = ("frequencies", "energy before", "energy after", "share before", "share after")
    return [Shown((), "the user's spectrum, from what all like to what tells tastes apart", columns, rows)]
