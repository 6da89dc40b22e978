"""Which versions tritonserver serves, as it reads the names of the folders and the policy."""

import re
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

_NUMBER = re.compile(r"\s*[+-]?[0-9]+")


def found_versions(folder: Path) -> dict[int, str]:
    """Version -> a folder that the server takes for it.

    The server reads the number at the start of a name and ignores the rest, so that `2.bak` counts as version 2; names
    of several characters that begin with 0 it skips.
    """
    found: dict[int, str] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        leading_zero = len(path.name) > 1 and path.name.startswith("0")
        if path.is_dir() and not leading_zero and (number := _NUMBER.match(path.name)):
            version = int(number.group())
            if version not in found or path.name == str(version):
                found[version] = path.name
    return found


def served_versions(folder: Path, config: ModelConfig) -> list[int]:
    """The versions that the policy picks of those found, ascending."""
    found = sorted(found_versions(folder))
    policy = config.version_policy
    if policy.HasField("specific"):
        return [version for version in found if version in policy.specific.versions]
    if policy.HasField("all"):
        return found
    count = policy.latest.num_versions if policy.HasField("latest") else 1
    return found[-count:] if count else []
