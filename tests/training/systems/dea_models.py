"""A small untrained DEA whose tables, codebooks and thresholds are all at work."""

from functools import cache

import torch

from recserve.studies.planted.data import collapse_data
from training.data.fields import FieldData
from training.systems.dea import DEA, Config

SMALL = Config(dim=8, hidden=(8, 4), codebook_rows=64, code_dim=4, code_hidden=5, dropout=0.0)


@cache
def data() -> FieldData:
    return collapse_data(num=3000)


def model(config: Config = SMALL, seed: int = 0) -> DEA:
    """Trained nowhere, but nothing in it is zero, equal or almost linear, and some thresholds are high."""
    torch.manual_seed(seed)
    built = DEA(config, data().schema)
    built.prepare(data())
    with torch.no_grad():
        for parameter in (built.memory.first, built.memory.second, built.embedding.rows.weight):
            parameter.normal_()
        for number in ("first", "second"):
            built.network.get_parameter(f"{number}.weight").mul_(3.0)
        for layer in built.layers:
            layer.get_parameter("share").normal_()
            layer.get_parameter("tokens.weight").mul_(2.0)
        built.abundance.rho.copy_(torch.rand(len(built.abundance.rho)) + 0.2)
        built.abundance.deficiency.copy_(torch.rand_like(built.abundance.deficiency) / 3)
    return built.eval()
