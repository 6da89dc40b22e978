"""Combo-ID attention in exported programs and in ONNX: one bare node, whose function ONNX Runtime runs with parity."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from kernels.combo_id_attention import combo_id_attention, reference
from kernels.combo_id_attention.function import FUNCTIONS, combo_id_attention_function
from tests.kernels.combo_inputs import Inputs, draw, group

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3}
LARGE_IDS = [0, 2**31 - 20, 2**31 - 19, 2**31 - 1, 2**31, 2**32, 2**40 + 7, 2**62]
INPUTS = list(combo_id_attention_function().input)


class Attention(nn.Module):
    """The operator with a model's codebooks, salts and thresholds inside."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        for name, x in zip(INPUTS[5:], inputs.flat[5:], strict=True):
            self.register_buffer(name, x)

    def forward(
        self, user_tokens: Tensor, user_ids: Tensor, item_tokens: Tensor, item_ids: Tensor, ends: Tensor
    ) -> Tensor:
        fixed = (self.get_buffer(name) for name in INPUTS[5:])
        return combo_id_attention(*group((user_tokens, user_ids, item_tokens, item_ids, ends, *fixed)))


def dims() -> tuple[dict[int, torch.export.Dim], ...]:
    batch, candidates = torch.export.Dim("batch", min=1), torch.export.Dim("candidates", min=0)
    return {0: batch}, {0: batch}, {0: candidates}, {0: candidates}, {0: batch}


def exported(inputs: Inputs) -> onnx.ModelProto:
    program = torch.onnx.export(
        Attention(inputs).eval(), inputs.flat[:5], dynamo=True, verbose=False, dynamic_shapes=dims()
    )
    assert program is not None
    return program.model_proto


def run(model: onnx.ModelProto, feeds: list[Tensor]) -> list[Tensor]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    opened = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    named = {given.name: x.numpy() for given, x in zip(opened.get_inputs(), feeds, strict=True)}
    return [torch.from_numpy(np.asarray(array)) for array in opened.run(None, named)]


def test_the_exported_program_holds_the_operator_and_runs_any_sizes() -> None:
    module = Attention(draw([3, 4, 2]))
    program = torch.export.export(module, draw([3, 4, 2]).flat[:5], dynamic_shapes=dims())
    assert any(node.target is torch.ops.recserve.combo_id_attention.default for node in program.graph.nodes)
    for sizes in ([1], [0, 7], [5, 0, 64]):
        arguments = draw(sizes).flat[:5]
        assert torch.equal(program.module()(*arguments), module(*arguments))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("user", "item"), [(5, 3), (0, 4), (1, 1)])
def test_onnx_runtime_runs_the_function_with_parity(dtype: torch.dtype, user: int, item: int) -> None:
    model = exported(draw([3, 4, 2], dtype, user=user, item=item))
    assert [node.op_type for node in model.graph.node if node.domain == "recserve"] == ["ComboIdAttention"]
    model.functions.append(FUNCTIONS["ComboIdAttention"]())
    if all(entry.domain != "recserve" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("recserve", 1))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    for sizes in ([0], [1], [7], [0, 0], [5, 3, 0, 64]):
        inputs = draw(sizes, dtype, user=user, item=item)
        actual = run(model, list(inputs.flat[:5]))[0]
        expected = combo_id_attention(*inputs)
        assert actual.dtype == dtype
        assert actual.shape == expected.shape
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


def test_onnx_runtime_finds_the_same_rows_bit_for_bit() -> None:
    inputs = draw([4, 4], user=4, item=4, rows=(2**20, 2**20 - 3))
    inputs = inputs._replace(
        users=inputs.users._replace(ids=torch.tensor(LARGE_IDS).reshape(2, 4)),
        items=inputs.items._replace(ids=torch.randint(2**62, (8, 4)).index_fill(0, torch.tensor([0]), 2**62)),
    )
    found = run(with_rows(inputs), list(inputs.flat))
    salt, request = inputs.codebooks.salt, reference.request_of(inputs.ends, 8)
    user, item = (
        reference.field_codes(fields.ids, part)
        for fields, part in ((inputs.users, salt[..., :4]), (inputs.items, salt[..., 4:]))
    )
    sizes = (2**20, 2**20 - 3)
    expected = [reference.pair_rows(*pair, sizes) for pair in ((user, user), (user[request], item), (item, item))]
    assert len(found) == 6
    for number, rows in enumerate(found):
        assert torch.equal(rows, expected[number // 2][..., number % 2])


def with_rows(inputs: Inputs) -> onnx.ModelProto:
    """The function's statements as a model that puts out the rows of user, mixed and item pairs."""
    function = combo_id_attention_function()
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.numpy().dtype), list(x.shape))
        for name, x in zip(INPUTS, inputs.flat, strict=True)
    ]
    rows = [
        helper.make_tensor_value_info(f"{pair}_{book}_row", onnx.TensorProto.INT64, None)
        for pair in ("user_user", "owner_item", "item_item")
        for book in ("first", "second")
    ]
    graph = helper.make_graph(list(function.node), "rows", values, rows)
    return helper.make_model(graph, opset_imports=list(function.opset_import), ir_version=10)
