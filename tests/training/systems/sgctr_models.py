"""SGCTR around a generator, with thresholds of the planted set's validation part."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.training.systems.generator_models import SMALL, data
from training.data.click import ClickData
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator
from training.systems.sgctr import Sgctr, SgctrConfig
from training.systems.sgctr.model import GIVEN


def config_of(**changes: Any) -> SgctrConfig:
    return replace(SgctrConfig(**vars(SMALL)), **changes)


def around(base: FieldGenerator, **changes: Any) -> Sgctr:
    """With thresholds of the clean validation part."""
    module = Sgctr(base, config_of(**changes)).eval()
    module.start_thresholds(module.alone(rows_of(data().validation)))
    return module


def rows_of(split: Any) -> Features:
    return Features(*map(torch.from_numpy, split.features(np.arange(len(split)))))


def given(base: FieldGenerator) -> ClickData:
    weights = {f"{GIVEN}{name}": value for name, value in base.state_dict().items()}
    return replace(data(), given=weights)
