"""One of torchrun's ranks: measures abundance with tables of its own, and writes what it was left with."""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.training.systems.dea_models import model
from training.systems.dea.abundance import field_abundance

if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo")
    built = model(seed=rank)
    built.abundance.refresh(built.embedding)
    own = field_abundance(built.embedding, int(built.abundance.steps)).float()
    figures = {"rho": built.abundance.rho, "deficiency": built.abundance.deficiency, "own": own}
    save_file(figures, Path(sys.argv[1]) / f"rank{rank}.safetensors")
    torch.distributed.destroy_process_group()
