"""Small BBQRec models, and walks in which codes say what ids cannot."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.training.walks import data_of, wanted
from training.data.sequences import SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.systems.bbqrec import BBQRec, Config

SMALL = Config(max_length=12, dim=16, layers=2, dropout=0.0, batch_size=32, ids="rqvae")
KINDS, STYLES, SIGNS = 6, 4, 30


def planted() -> SequenceData:
    """Of 60 items in 6 clusters; the first of their three codes says the cluster, a fourth tells them apart."""
    data = sequences(synthetic_sequences(), wanted(SMALL.max_length))
    number = torch.arange(len(data.categories))
    codes = torch.stack([torch.from_numpy(data.categories), number // 6 % 4, number // 24, number], dim=1)
    return replace(data, given={"codes": codes, "weights": torch.ones(codes.shape)})


def model(data: SequenceData, **changed: Any) -> BBQRec:
    """Untrained, with a table of random numbers."""
    torch.manual_seed(0)
    module = BBQRec(replace(SMALL, **changed), data.schema)
    module.prepare(data)
    with torch.no_grad():
        module.table.normal_()
    return module.eval()


def told_by_signs(seed: int = 0) -> SequenceData:
    """A user has a style in each of 6 kinds of items, and shows it by one item of each; then come pairs of a sign and
    an item of the sign's kind in the user's style. There are 180 signs, each of them met a few times, so that its code
    has to say of which kind it is. The item to validate with follows a sign; the one to test with is another sign."""
    random = np.random.default_rng(seed)
    kind_of = np.concatenate([np.repeat(np.arange(KINDS), STYLES * 3), np.repeat(np.arange(KINDS), SIGNS)])
    first_sign, walks = KINDS * STYLES * 3, []
    for _ in range(600):
        styles = random.integers(STYLES, size=KINDS)
        groups = [1 + 3 * (STYLES * kind + style) + random.permutation(3) for kind, style in enumerate(styles.tolist())]
        walk = [int(groups[kind][0]) for kind in random.permutation(KINDS)]
        for kind in random.permutation(KINDS)[:3]:
            walk += [1 + first_sign + int(kind) * SIGNS + int(random.integers(SIGNS)), int(groups[kind][1])]
        walks.append([*walk, 1 + first_sign + int(random.integers(KINDS * SIGNS))])
    data = data_of([*walks, [len(kind_of), 1, 2]], max_length=12)
    codes = torch.from_numpy(np.stack([np.append(0, kind_of + 1)] + [np.arange(len(kind_of) + 1)] * 3, axis=1))
    return replace(data, given={"codes": codes, "weights": torch.ones(codes.shape)})
