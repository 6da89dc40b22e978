"""The sentence encoder: offline, imported late, and its vectors kept in the cache as they were written."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from training.data import sentence_vectors
from training.data.fetch import silent

TEXTS = ("red nail polish", "crimson lacquer for nails", "carbon fishing rod")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Vectors that say how long a text is, and a record of what was computed: for tests of the cache alone."""
    calls: list[int] = []

    def lengths(texts: list[str]) -> np.ndarray:
        calls.append(len(texts))
        return np.array([[len(text)] * sentence_vectors.WIDTH for text in texts], np.float32)

    monkeypatch.setattr(sentence_vectors, "encode", lengths)
    return calls


@pytest.mark.slow
def test_the_encoder_tells_meanings_apart_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the encoder wanted the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    vectors = sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 384)
    assert not vectors[0].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1, atol=1e-5)
    alike = vectors[1:] @ vectors[1:].T
    assert alike[0, 1] > 0.5 > alike[0, 2]


def test_known_texts_are_read_from_the_cache(tmp_path: Path, counted: list[int]) -> None:
    first = sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    again = sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    assert counted == [3]
    assert np.array_equal(first, again)
    assert again[:, 0].tolist() == [0, *map(len, TEXTS)]


def test_other_texts_or_another_order_are_computed_anew(tmp_path: Path, counted: list[int]) -> None:
    sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    turned = sentence_vectors.sentence_vectors(TEXTS[::-1], tmp_path, silent)
    assert counted == [3, 3]
    assert turned[:, 0].tolist() == [0, *map(len, TEXTS[::-1])]


@pytest.mark.parametrize("damage", ["value", "cut", "rows"])
def test_a_damaged_file_is_reported_and_computed_again(tmp_path: Path, counted: list[int], damage: str) -> None:
    intact = sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    (path,) = (tmp_path / "sentence-vectors").glob("*.safetensors")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "value":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        save_file({"vectors": load_file(path)["vectors"][1:]}, path)
    said: list[str] = []
    assert np.array_equal(sentence_vectors.sentence_vectors(TEXTS, tmp_path, said.append), intact)
    assert counted == [3, 3]
    assert len(said) == 1
    assert said[0].endswith("computing again")


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_vectors, "WEIGHTS", {"model.safetensors": "00"})
    with pytest.raises(ValueError, match=r"model\.safetensors: expected sha256 00, found 53aa5117"):
        sentence_vectors.sentence_vectors(TEXTS, tmp_path, silent)
    assert not list((tmp_path / "sentence-vectors").glob("*.safetensors"))


@pytest.mark.slow
def test_commands_do_not_import_the_encoder() -> None:
    program = "import sys, recserve.runs; sys.exit(any(name in sys.modules for name in ('transformers', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
