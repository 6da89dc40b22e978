"""Why torch's exporter refused a module, in one line that names the operator or the place, and what to do."""

import re
from collections.abc import Iterator

from export.eager import place

REMEDIES = {
    "searchsorted": "compare with all boundaries and count: (values[..., None] > boundaries).sum(-1)",
    "median": "take the middle of torch.sort(...)",
    "kthvalue": "take the k-th of torch.sort(...)",
    "cummax": "compare each element with those before it: a masked amax",
    "_cdist_forward": "write it as squared norms and a product: (a[:, None] - b).square().sum(-1).sqrt()",
    "linalg_inv_ex": "invert outside forward, and keep the inverse as a buffer",
    "_linalg_svd": "decompose outside forward, and keep the factors as buffers",
    "repeat_interleave": "give it output_size=<the number of packed elements>, such as candidates.shape[0]",
    "_embedding_bag": "use nn.Embedding and a masked sum over the axis of the bag",
}
"""Operator without its namespace -> a form that works."""

_RANDOM = ("rand", "normal", "bernoulli", "multinomial", "dropout", "poisson", "exponential", "uniform")
_CONTROL = ("GuardOnDataDependentSymNode", "UserError", "data-dependent", "Could not guard")


def reason(error: BaseException) -> str:
    """One line for an error of `torch.onnx.export`."""
    chain = list(_chain(error))
    texts = [f"{type(one).__name__}: {one}" for one in chain]
    for text in texts:
        if found := re.search(r"target=torch\.ops\.([\w.]+)", text):
            return _of_operator(found[1])
    if any(word in text for text in texts for word in _CONTROL):
        where = next(filter(None, map(place, chain)), "")
        return (
            f"it is data-dependent: what it computes follows from the values of a tensor{where}; use "
            "torch.where, masks and fixed sizes in place of if, loops, .item() and boolean indexing"
        )
    if any("is mutated in the forward" in text for text in texts):
        return "it changes a tensor of the module; a request must not leave a trace: make the state an input"
    last = chain[-1]
    first_line = str(last).strip().split("\n")[0]
    return f"{type(last).__name__}: {first_line}" if first_line else type(last).__name__


def _of_operator(operator: str) -> str:
    """`aten.searchsorted.Tensor` -> what is wrong with it."""
    name = operator.split(".")[1] if "." in operator else operator
    if any(word in name for word in _RANDOM):
        return f"operator '{operator}' is random; make the noise an input"
    remedy = REMEDIES.get(name, "write it with other operators")
    return f"operator '{operator}' has no ONNX form; {remedy}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
