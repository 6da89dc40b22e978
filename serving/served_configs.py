"""Configurations of versions that are chosen: all versions of a model share one, which says what is served."""

from collections.abc import Collection, Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from serving import manifest
from serving.configs import read_file
from serving.files import replace_text
from serving.identity import Identity


def with_versions(model: Path, config: ModelConfig, versions: Collection[int]) -> ModelConfig:
    """A copy that loads these versions of a model, and says what the highest was made of, which answers whoever names
    none."""
    chosen = ModelConfig()
    chosen.CopyFrom(config)
    chosen.version_policy.specific.versions[:] = sorted(versions)
    said = _identity(model / str(max(versions)))
    if said is not None:
        said.replace_in(chosen)
    return chosen


def _identity(version: Path) -> Identity | None:
    """What the manifest says; nothing in earlier releases, and in models of others, which have none."""
    try:
        said = manifest.read(version).get("identity")
    except ValueError:
        return None
    return None if said is None else Identity(**said)


def settle(repository: Path, served: Mapping[str, int]) -> None:
    """Makes the configuration files of these models choose these versions, each file in one step.

    Raises ValueError for a file that is no configuration.
    """
    for name, version in served.items():
        model = repository / name
        for path in (*model.glob("config.pbtxt"), *sorted(model.glob("configs/*.pbtxt"))):
            now = read_file(path)
            chosen = with_versions(model, now, {version})
            if chosen != now:
                replace_text(path, text_format.MessageToString(chosen))
