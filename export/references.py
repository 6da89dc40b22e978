"""What a release's scores are like, written beside its goldens: what a server compares the scores of its traffic with.

At export the requests are the release's own examples. They tell how to cut the scores into bins, and little of traffic,
whose candidates somebody has chosen; `recserve releases golden` makes a release whose reference is of logged requests.
"""

from collections.abc import Sequence

import numpy as np

from export import eager
from export.goldens import NUM_GOLDENS, cut
from serving.golden import Golden
from serving.watch.reference import Binned, Reference, Source, scores_of
from training.servable import Signature

ROUNDS = 8
"""Batches of examples of the golden's size, with other seeds than its own."""
WATCHED = ("scores", "probabilities")
"""Names of outputs whose elements are scores, the first that a model has."""


def watched(signature: Signature) -> str | None:
    """The output whose elements are scores: by its name, or the only number of floating point that a model gives for
    each request or candidate. None where there is no such output."""
    floats = [spec for spec in signature.outputs if spec.dtype.startswith("float")]
    named = [name for name in WATCHED if name in {spec.name for spec in floats}]
    single = [spec.name for spec in floats if spec.ragged or spec.shape in ((), (1,))]
    return named[0] if named else single[0] if len(single) == len(floats) == 1 else None


def of_examples(signature: Signature) -> Reference | None:
    """Of what the release's examples are answered; None for a model without scores."""
    output = watched(signature)
    if output is None:
        return None
    batches = [eager.example(signature, NUM_GOLDENS, seed) for seed in range(1, ROUNDS + 1)]
    goldens = [one for inputs in batches for one in cut(signature, inputs, eager.ask(signature, inputs))]
    unknown = {
        spec.name: float(np.mean(_joined([one.inputs[spec.name] for one in goldens]) == 0))
        for spec in signature.inputs
        if spec.ids is not None and any(one.inputs[spec.name].size for one in goldens)
    }
    return reference(goldens, output, unknown, "example")


def reference(answered: Sequence[Golden], output: str, unknown: dict[str, float], source: Source) -> Reference | None:
    """Of requests with their answers; None where none of them has a score."""
    scores, _ = scores_of(_joined([one.outputs[output] for one in answered]).astype(np.float64))
    if not scores.size:
        return None
    sizes = np.array([max(array.size for array in one.inputs.values()) for one in answered])
    return Reference(
        source=source,
        requests=len(answered),
        output=output,
        scores=Binned.of(scores),
        sizes=Binned.of(sizes),
        unknown=unknown,
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays])
