"""Ids whose codes are their rests: what a graph would compute of an id lies in its tables instead."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from kernels.combo_id_attention import coded_ids, coded_salt, combo_id_attention, field_salt, reference
from kernels.functions import attach
from tests.kernels.combo_inputs import draw
from tests.kernels.test_combo_id_attention_graph import LARGE_IDS, exported


def test_coded_ids_have_the_codes_of_their_ids() -> None:
    salt = field_salt(4, 7)
    some = torch.randint(2**62, (500, 4), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([torch.tensor(LARGE_IDS).reshape(2, 4), some])
    coded = coded_ids(ids, salt)
    assert torch.equal(reference.field_codes(coded, coded_salt(4)), reference.field_codes(ids, salt))
    assert int(coded.min()) >= 0
    assert int(coded.max()) < reference.PRIMES[0] * reference.PRIMES[1] < 2**62


def test_the_operator_answers_alike_of_coded_ids() -> None:
    inputs = draw([3, 4, 2])
    salt, users = inputs.codebooks.salt, inputs.users.ids.shape[1]
    coded = inputs._replace(
        users=inputs.users._replace(ids=coded_ids(inputs.users.ids, salt[..., :users])),
        items=inputs.items._replace(ids=coded_ids(inputs.items.ids, salt[..., users:])),
        codebooks=inputs.codebooks._replace(salt=coded_salt(salt.shape[2])),
    )
    assert torch.equal(combo_id_attention(*coded), combo_id_attention(*inputs))


def test_a_graph_of_coded_ids_computes_no_polynomial(tmp_path: Path) -> None:
    plain = draw([3, 4, 2])
    coded = plain._replace(codebooks=plain.codebooks._replace(salt=coded_salt(plain.codebooks.salt.shape[2])))
    counts = []
    for number, inputs in enumerate((plain, coded)):
        model = exported(inputs)
        attach(model)
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{number}.onnx")
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        found = np.asarray(
            session.run(None, {name: x.numpy() for name, x in zip(names, inputs.flat[:5], strict=True)})[0]
        )
        np.testing.assert_allclose(found, combo_id_attention(*inputs).numpy(), rtol=1e-5, atol=1e-5)
        operators = [node.op_type for node in onnx.load(tmp_path / f"{number}.onnx").graph.node]
        assert "If" not in operators, "whether ids are coded is known when the graph is loaded"
        counts.append(operators.count("Mod"))
    # Of four codes, two of users and two of items, each three rests fewer.
    assert counts[0] - counts[1] == 4 * 3
