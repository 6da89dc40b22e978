"""The files of one version folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal, NamedTuple

from export import client_ids, references, stored
from export.goldens import make_goldens
from export.kinds import MODEL_FILE, kind_of
from export.model_config import identity_of
from serving import golden, manifest
from serving.histories.reading import SCHEMA_FILE
from training import schema as schema_file
from training.servable import Signature

GOLDEN_FILE = "golden.safetensors"

_LIBRARIES = ("torch", "triton", "onnx", "onnxscript", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a run reaches on its test part, which is that of `data` up to `until`."""

    run: str
    """Its folder."""
    system: str
    dataset: str
    until: str | None
    data: Mapping[str, Any]
    """The fingerprint of its events, users and items, as JSON values."""
    test: Mapping[str, float]
    """Metric -> value."""
    unrounded: Mapping[str, float] | None = None
    """Those that judge, before the tables were rounded; None where they were not."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a release comes from."""

    kind: Literal["run", "factory"]
    name: str
    """The folder of the run, or `package.module:factory`."""
    measured: tuple[Measured, ...] = ()
    """Of each run that it is made of."""


class Release(NamedTuple):
    """What appears together."""

    whole: str
    """The model that clients ask."""
    models: Sequence[str]


def write_version(
    folder: Path, signature: Signature, version: int, source: Source, release: Release | None = None
) -> None:
    """Writes all files of one version into an empty folder, the manifest last; it is a release of its own by default.

    Raises ValueError where the model breaks a rule of export, or the graph answers differently than the module.
    """
    kind = kind_of(signature)
    kind.write(signature, folder)
    client_ids.save_maps(signature, folder)
    goldens = make_goldens(signature)
    golden.write(folder / GOLDEN_FILE, goldens)
    if (reference := references.of_examples(signature)) is not None:
        reference.write(folder)
    if signature.origin.schema is not None:
        _write_json(folder / SCHEMA_FILE, schema_file.to_json(signature.origin.schema))
    facts: dict[str, Any] = {
        "model": signature.name,
        "version": version,
        "source": {"kind": source.kind, "name": source.name},
        "measured": [asdict(one) for one in source.measured],
        "identity": identity_of(signature)._asdict(),
        "whole": release.whole if release else signature.name,
        "release": sorted({signature.name, *(release.models if release else ())}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {library: installed(library) for library in _LIBRARIES},
        **kind.facts(signature),
    }
    if signature.tables is not None:
        facts["tables"] = stored.facts(signature.tables, goldens, folder / MODEL_FILE)
    manifest.write(folder, facts)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
