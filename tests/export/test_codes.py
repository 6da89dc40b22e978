"""The exported codebooks choose as the eager ones on a million rows, and among equal words the lowest index."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session
from training.layers.quantiser import Codebooks
from training.servable import TensorSpec, servable

BOOKS, WORDS, WIDTH, ORIGINALS = 2, 37, 8, 20
ROWS, BLOCK = 1_000_000, 50_000


class Codes(nn.Module):
    """Codes alone, int64 [B, P], of fp32 latents [B, P, d]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.codebooks = Codebooks(BOOKS, WORDS, WIDTH, "cosine")
        with torch.no_grad():
            self.codebooks.words[:, ORIGINALS:] = self.codebooks.words[:, : WORDS - ORIGINALS]

    def forward(self, latents: Tensor) -> Tensor:
        return self.codebooks(latents).codes


def latents(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, BOOKS, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_a_million_rows_get_the_eager_codes_and_the_first_of_equal_words(tmp_path: Path) -> None:
    module = Codes().eval()
    signature = servable(
        name="codes",
        module=module,
        example=lambda batch, seed: (latents(batch, seed),),
        inputs=[TensorSpec(name="latents", dtype="float32", shape=(BOOKS, WIDTH))],
        outputs=[TensorSpec(name="codes", dtype="int64", shape=(BOOKS,))],
    )
    export_onnx(signature, tmp_path / "codes.onnx")
    session = open_session(tmp_path / "codes.onnx")
    words = module.codebooks.words[:, :ORIGINALS].double()
    words = words / words.norm(dim=-1, keepdim=True)
    for seed in range(ROWS // BLOCK):
        block = latents(BLOCK, seed)
        found = run_session(session, signature, (block,))["codes"]
        with torch.no_grad():
            np.testing.assert_array_equal(found, module(block).numpy())
        assert found.max() < ORIGINALS
        cosines = torch.einsum("bpd,pkd->bpk", torch.nn.functional.normalize(block.double(), dim=-1), words)
        chosen = cosines.gather(-1, torch.from_numpy(found)[..., None])[..., 0]
        assert (cosines.amax(-1) - chosen).max() < 2e-6, "further from the best than what counts as a tie"
