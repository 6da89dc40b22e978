"""What an op takes, its kernels compile for: sizes at the edges of tiles, not only those that are shipped."""

import pytest
import torch

from kernels.combo_id_attention import kernel as combo
from kernels.compile import ARCHITECTURES
from kernels.consistency_pruning import kernel as pruning
from kernels.consistency_pruning.configs import CONFIGS
from kernels.low_rank_attention import kernel as low_rank
from kernels.path_sampling import Layout, Plan, path_words
from kernels.path_sampling import kernel as paths
from tests.kernels import combo_inputs, low_rank_inputs, path_inputs, pruning_inputs
from tests.kernels.compile.dry_launch import dry_launches

FLOATS = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
ARCH = ARCHITECTURES[1]


@FLOATS
@pytest.mark.parametrize(
    ("user", "item", "heads", "width"), [(1, 1, 1, 1), (0, 2, 3, 4), (3, 2, 2, 8), (5, 17, 1, 16), (33, 9, 2, 20)]
)
def test_combo_id_attention_of_any_size_compiles(
    dtype: torch.dtype, user: int, item: int, heads: int, width: int
) -> None:
    inputs = combo_inputs.draw([2, 1], dtype, user=user, item=item, heads=heads, width=width)
    with dry_launches(ARCH) as compiled:
        combo.launch(*inputs)
    assert compiled == ["combo_users_kernel"] * (user > 0) + ["combo_candidates_kernel"]


@FLOATS
@pytest.mark.parametrize(("rank", "width"), [(1, 1), (5, 8), (33, 20)])
def test_low_rank_attention_of_any_size_compiles(dtype: torch.dtype, rank: int, width: int) -> None:
    inputs = low_rank_inputs.draw([2, 1], dtype, rank=rank, width=width)
    product = torch.zeros(2, width, 3, dtype=dtype)
    with dry_launches(ARCH) as compiled:
        low_rank.launch(*inputs, ranks=torch.tensor([1, 0]), variant="softmax")
        low_rank.launch_absorbed(torch.zeros(3, width, dtype=dtype), inputs.ends, product, product[:, 0])
    assert compiled == ["low_rank_attention_kernel", "absorbed_attention_kernel"]


@pytest.mark.parametrize(
    ("candidates", "slots", "penalty"), [(1, 1, 0.0), (3, 2, 0.0), (3, 2, 0.25), (65, 3, 0.25), (70, 100, 0.0)]
)
def test_consistency_pruning_of_any_size_compiles(candidates: int, slots: int, penalty: float) -> None:
    inputs = pruning_inputs.draw(candidates, slots, batch=2, dtype=torch.float16)
    with dry_launches(ARCH) as compiled:
        pruning.launch(*inputs, pruning_inputs.rule(penalty=penalty))
    assert compiled == ["consistency_pruning_kernel"]


@pytest.mark.parametrize(("width", "slots"), [(1, 9), (7, 9), (8, 40), (32, 4)])
def test_shares_of_any_width_compile(width: int, slots: int) -> None:
    inputs = pruning_inputs.draw(70, slots, batch=2, width=width)
    with dry_launches(ARCH) as compiled:
        pruning.launch(*inputs, pruning_inputs.rule(), config=CONFIGS[ARCH]["128-shares"])
    assert compiled == ["consistency_pruning_kernel"]


@pytest.mark.parametrize(("rows", "fields", "plan"), path_inputs.SHAPES[:-1], ids=path_inputs.SHAPE_NAMES[:-1])
def test_path_sampling_of_any_size_compiles(rows: int, fields: int, plan: Plan) -> None:
    weights, keys = path_inputs.draw_rows(rows, fields)
    words = path_words(keys, plan)
    with dry_launches(ARCH) as compiled:
        paths.launch(weights, keys, plan)
        paths.launch_given(weights, words, plan.anchors)
    assert set(compiled) == {"path_sampling_forward_kernel"}


@pytest.mark.parametrize("rows", [4, 8])
def test_lookups_in_any_sketch_compile(rows: int) -> None:
    layout = Layout(blocks=50, rows=rows, salt=9)
    with dry_launches(ARCH) as compiled:
        paths.launch_sketch(layout.empty(), torch.arange(5), layout)
    assert compiled == ["sketch_lookup_forward_kernel"]
