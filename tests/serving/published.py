"""Releases that nobody can load: files of any content, with the manifests that say so."""

import os
from pathlib import Path

from serving import manifest


def add_release(repository: Path, name: str, number: int, parts: tuple[str, ...] = (), size: int = 3000) -> None:
    """A version of a model and of its parts, each with files of `size` and 17 random bytes."""
    models = (name, *(f"{name}_{part}" for part in parts))
    for model in models:
        version = repository / model / str(number)
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(os.urandom(size))
        (version / "golden.safetensors").write_bytes(os.urandom(17))
        (version / "empty").touch()
        (repository / model / "configs").mkdir(exist_ok=True)
        for config in ("config.pbtxt", "configs/cpu.pbtxt"):
            (repository / model / config).write_text(f'name: "{model}"\nbackend: "onnxruntime"\nmax_batch_size: 8\n')
        manifest.write(version, {"release": list(models), "whole": name})
