"""What a module says of samples, whatever the batch and the mode."""

import numpy as np
import pytest
import torch

from tests.training.click_views import histories
from tests.training.tiny import Config, Tiny
from training.fit import predict


def test_predictions_come_in_sample_order_whatever_the_batch_size() -> None:
    data = histories()
    torch.manual_seed(0)
    module = Tiny(Config(), data.schema)
    together = predict(module, data.test, batch_size=7)
    assert together.dtype == np.float32
    module.eval()
    with torch.inference_mode():
        alone = [module(data.test.batch(np.array([row]))).item() for row in range(len(data.test))]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_prediction_leaves_a_module_in_its_mode_also_inside_another(training: bool) -> None:
    torch.manual_seed(0)
    module = Tiny(Config(), histories().schema).train(training)
    wrapped = torch.nn.Sequential(module)
    wrapped.training = True
    predict(wrapped, histories().test)
    assert wrapped.training
    assert module.training == module.dropout.training == training
