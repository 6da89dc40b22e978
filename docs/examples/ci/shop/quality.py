"""What the exported models reach on the held-out day: `python -m shop.quality REPOSITORY FILE`."""

import json
import sys
from pathlib import Path

import numpy as np

from serving.in_process import InProcessModel
from shop import data

_NUM_REQUESTS = 600


def answers(model: Path, output: str, **inputs: np.ndarray) -> np.ndarray:
    """[N, ...] of one output, from the files that are served and not from the module they were made of."""
    opened = InProcessModel.open(model)
    requests = [{name: array[row : row + 1] for name, array in inputs.items()} for row in range(_NUM_REQUESTS)]
    return np.concatenate([opened.run([request])[0][output] for request in requests])


def figures(repository: Path) -> dict[str, dict[str, float]]:
    """Model -> figure -> value."""
    user, items, clicked = data.clicks(data.HELD_OUT, _NUM_REQUESTS)
    scores = answers(repository / "two_tower", "scores", user=user, items=items)
    better = (scores > np.take_along_axis(scores, clicked[:, None], 1)).sum(1)
    words, topic = data.titles(data.HELD_OUT, _NUM_REQUESTS)
    probabilities = answers(repository / "topics", "probabilities", words=words)
    of_topic = np.take_along_axis(probabilities, topic[:, None], 1)
    return {
        "two_tower": {"recall_at_5": float((better < 5).mean()), "mrr": float((1 / (1 + better)).mean())},
        "topics": {
            "accuracy": float((probabilities.argmax(1) == topic).mean()),
            "log_loss": float(-np.log(of_topic).mean()),
        },
    }


def main(repository: Path, file: Path) -> None:
    """Writes the figures, each rounded to what the held-out day can tell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rounded = {
        model: {name: round(value, 4) for name, value in one.items()} for model, one in figures(repository).items()
    }
    file.write_text(json.dumps(rounded, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
