"""The scorer as a program of torch under the batching gRPC server."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from loadtest.peers.grpcio.batched import Batcher
from loadtest.peers.grpcio.server import serve
from loadtest.peers.scorer import MAX_BATCH_SIZE, OUTPUT, Scorer, arguments
from serving import golden
from serving.backends.recserve.program import load_program

Prepare = Callable[[torch.nn.Module], Callable[..., torch.Tensor | Sequence[torch.Tensor]]]


def scorer(program: Path, prepare: Prepare) -> Scorer:
    """Of the file model.pt2, by dense ids; `prepare` makes of its module what is called. One thread."""
    torch.set_num_threads(1)
    loaded, names = load_program(program)
    call = prepare(loaded.module())

    @torch.inference_mode()
    def run(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        found = call(*(torch.from_numpy(np.require(feeds[name], requirements="W")) for name in names.inputs))
        outputs = (found,) if isinstance(found, torch.Tensor) else found
        return dict(zip(names.outputs, outputs, strict=True))[OUTPUT].numpy()

    return Scorer(run, names.inputs)


def main(prepare: Prepare) -> None:
    """Serves until it is stopped; listens when requests were run alone and together, which compiles."""
    model, port = arguments()
    one = scorer(model, prepare)
    requests = [each.inputs for each in golden.read(model.with_name("golden.safetensors"))]
    for batch in ([each] for each in requests):
        one.score(batch)
    one.score(requests)
    serve(Batcher(one).score, MAX_BATCH_SIZE, port)
