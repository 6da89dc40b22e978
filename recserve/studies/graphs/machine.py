"""What one core of this machine can do: the floor under any graph's time."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

_SIDE = 512
_BYTES = 1 << 28
_REPEATS = 5


class Machine(NamedTuple):
    """The best of some tries."""

    flops: float
    """A second, of ONNX Runtime's own product of two large matrices of float32."""
    bandwidth: float
    """Bytes read a second, of an array far larger than the caches."""

    def floor(self, flops: float, moved: float) -> float:
        """Seconds that so many operations and bytes take at least, as one may hide the other."""
        return max(flops / self.flops, moved / self.bandwidth)


def measured() -> Machine:
    """By one thread."""
    shape = [_SIDE, _SIDE]
    names = ("left", "right", "out")
    left, right, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names)
    graph = helper.make_graph([helper.make_node("MatMul", ["left", "right"], ["out"])], "peak", [left, right], [out])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {name: np.random.default_rng(0).standard_normal(shape, np.float32) for name in ("left", "right")}
    read = np.ones(_BYTES // 8)
    return Machine(
        2.0 * _SIDE**3 / _best(lambda: session.run(None, feeds)),
        _BYTES / _best(lambda: read.sum()),
    )


def _best(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPEATS + 1):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return min(taken[1:])
