"""`recserve explain`: what the paths of one MATT request keep, how sure each is, and what it scores."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.artifacts import SCHEMA_FILE
from kernels.path_sampling import path_confidence, unpack
from kernels.path_sampling.hph import weights
from kernels.path_sampling.reference import MAX_WEIGHT
from kernels.path_sampling.sampler import Sampler
from recserve.commands.command import Command, show, table
from recserve.served import Served, as_ids, ask
from serving.client import Client
from training.schema import Field, Schema, digest, from_json

FULL = "full"
SYSTEM = "matt_dea"


@dataclass(frozen=True, kw_only=True)
class Explain(Command):
    """Show the paths of one request to a running MATT: kept fields, confidence, share, score, and the spread."""

    user: int
    """User id, as the data set has it."""
    candidates: tuple[int, ...]
    """Item ids."""
    model: str | None = None
    """Served ensemble; the system's by default."""
    system: str | None = None
    """System of the ensemble: matt_dea (the default) or matt_<base>."""
    request_key: int = 0
    """Key of the draw: the same key draws the same paths."""
    repository: Path = Path("model_repository")
    """The repository that is served: names of fields and values, and the counts of training."""
    url: str = "127.0.0.1:8001"
    """gRPC address of the server."""
    deadline_s: float = 5.0
    """Seconds that the server has to answer."""

    def __post_init__(self) -> None:
        if not self.candidates:
            raise ValueError("--candidates is empty; name at least one item")
        as_ids("--user", self.user)
        as_ids("--candidates", *self.candidates)
        as_ids("--request-key", self.request_key)

    def run(self) -> int:
        name = self.model or self.system or SYSTEM
        sampler = self.repository / f"{name}_sampler"
        if not sampler.is_dir():
            raise ValueError(f"{sampler} is missing; export a run of {name} into {self.repository}")
        with Client(self.url, deadline_s=self.deadline_s) as client:
            served = ask(client, sampler.name, self.system)
            version = max(client.metadata(sampler.name).versions, key=int)
            folder = sampler / version
            schema = self._schema(folder, served)
            answers = self._ask(client, name, version)
        explained = explain(Sampler.load(folder), schema.fields, (self.user, self.candidates), answers)
        for one in explained:
            self._show(one)
        self.emit(
            {
                "model": name,
                "version": int(version),
                "user": self.user,
                "request_key": self.request_key,
                "candidates": explained,
            }
        )
        return 0

    def _schema(self, folder: Path, served: Served) -> Schema:
        """Of the repository's files. Raises ValueError where they are not those of the release that answers."""
        file = folder / SCHEMA_FILE
        schema = from_json(json.loads(file.read_text())) if file.is_file() else None
        if schema is None or digest(schema) != served.identity.schema_digest:
            raise ValueError(
                f"{folder} is not what the server at {self.url} serves as '{served.model}' ({served.identity}); name "
                "the --repository that is served"
            )
        return schema

    def _ask(self, client: Client, name: str, version: str) -> dict[str, np.ndarray]:
        """The sampler's paths, and the scorer's answers to them."""
        request = {"user_id": np.array([[self.user]]), "candidates": np.array([self.candidates])}
        key = np.array([[self.request_key]])
        paths = client.infer(f"{name}_sampler", {**request, "request_key": key}, version=version)
        return {**paths, **client.infer(f"{name}_scorer", {**request, **paths}, version=version)}

    def _show(self, one: dict[str, Any]) -> None:
        fields = ", ".join(f"{f['name']}={f['value']} ({f['confidence']:.2f})" for f in one["fields"])
        title = f"item {one['item']}: score {one['score']:.4f}, spread {one['spread']:.4f}"
        rows = [
            [path["path"], ", ".join(path["kept"]), path["confidence"], path["share"], path["score"]]
            for path in one["paths"]
        ]
        show(self.console, table(title, ["path", "kept fields", "confidence", "share", "score"], rows))
        self.console.print(f"{fields}\n", highlight=False, soft_wrap=True, markup=False)


def explain(
    sampler: Sampler, fields: tuple[Field, ...], request: tuple[int, tuple[int, ...]], answers: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One entry for each candidate of a request (user, items), from the sampler's and the scorer's answers."""
    user, items = request
    ids = ids_of(sampler, user, items)
    of_fields = torch.from_numpy(weights(sampler.frequencies, ids, sampler.tables.anchors))
    masks = torch.tensor(answers["masks"]).reshape(len(items), -1)
    masks = torch.cat([torch.full_like(masks[:, :1], -1), masks], dim=1)
    confidence = path_confidence(masks, of_fields, sampler.plan.anchors)
    kept = unpack(masks, len(fields))
    shares, scores = (answers[name].reshape(masks.shape) for name in ("weights", "path_scores"))
    return [
        {
            "item": item,
            "score": float(answers["scores"][0, n]),
            "spread": float(answers["spread"][0, n]),
            "fields": [
                {"name": field.name, "value": value_of(field, int(raw)), "confidence": float(weight) / MAX_WEIGHT}
                for field, raw, weight in zip(fields, ids[n], of_fields[n], strict=True)
            ],
            "paths": [
                {
                    "path": str(p) if p else FULL,
                    "kept": [field.name for field, is_kept in zip(fields, kept[n, p], strict=True) if is_kept],
                    "confidence": float(confidence[n, p]),
                    "share": float(shares[n, p]),
                    "score": float(scores[n, p]),
                }
                for p in range(masks.shape[1])
            ],
        }
        for n, item in enumerate(items)
    ]


def ids_of(sampler: Sampler, user: int, items: tuple[int, ...]) -> np.ndarray:
    """int64 [len(items), F]: the raw fields of a user with each item, as the sampler takes them."""
    tables = sampler.tables
    place = np.flatnonzero(tables.user_ids == user)
    of_user = tables.user_rows[place[0]] if len(place) else tables.new_user
    rows = np.array([item if 0 <= item < len(tables.item_rows) else 0 for item in items])
    return np.concatenate([np.tile(of_user, (len(items), 1)), tables.item_rows[rows]], axis=1)


def value_of(field: Field, raw: int) -> str:
    """The name of an id where the schema has one, else the id."""
    return field.values[raw] if field.values is not None else str(raw)
