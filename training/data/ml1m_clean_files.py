"""Sources of MovieLens-1M in the clean setting of DiffRec (Wang et al., SIGIR 2023): a folder, and its publisher.

In order: the folder `$RECSERVE_DATA/diffrec` with the published archive; the publisher's repository at a fixed commit.
The archive is unpacked by `training.data.rar`.
"""

import io
import os
from pathlib import Path

import numpy as np
import polars as pl

from training.data.origin import Found, Origin, Report, Tables, download, read, verify
from training.data.rar import REMEDY, unpacked

REPOSITORY = "https://raw.githubusercontent.com/YiyanXu/DiffRec"
COMMIT = "d35a6c63c14cc0b376c138eb0b5c35895d1dcffd"
URL = f"{REPOSITORY}/{COMMIT}/datasets/ml-1m_clean.rar"
_NAME, _FOLDER, _FILE = "ml-1m-clean", "diffrec", "ml-1m_clean.rar"
SHA256 = {_FILE: "407d6f1deac6e373c3a7157ce9cf974fcd42f43967d7f0cfaa25b01bc2521050"}
_LISTS = {"train": "train_list.npy", "validation": "valid_list.npy", "test": "test_list.npy"}


def _from_folder(report: Report) -> Found | None:
    root = os.environ.get("RECSERVE_DATA")
    folder = Path(root or "") / _FOLDER
    if not root or not folder.is_dir():
        return None
    content = read(folder / _FILE)
    if content is None:
        report(f"{_NAME}: {folder} lacks {_FILE}; trying the next source")
        return None
    return Found(str(folder), {_FILE: verify(SHA256, _FILE, content)})


def _from_publisher(report: Report) -> Found | None:
    content = download(_NAME, URL, report)
    return None if content is None else Found(URL, {_FILE: verify(SHA256, _FILE, content)})


def _parse(files: dict[str, bytes]) -> Tables:
    """train, validation, test: user and item, int64, as published, from 0, in the order of the file."""
    found = unpacked(files[_FILE], [f"ml-1m_clean/{name}" for name in _LISTS.values()])
    pairs = {part: np.load(io.BytesIO(found[f"ml-1m_clean/{name}"])) for part, name in _LISTS.items()}
    return {part: pl.DataFrame({"user": rows[:, 0], "item": rows[:, 1]}) for part, rows in pairs.items()}


ORIGIN = Origin(
    name=_NAME,
    what="MovieLens-1M, ratings of 4 and 5 in DiffRec's given parts: 571,531 of 5,949 users",
    licence="MovieLens-1M (GroupLens: Harper and Konstan, ACM TiiS 5(4), 2015; research use, no redistribution without "
    "permission) as prepared by DiffRec, whose repository has no licence file: use it for research, and do not "
    "redistribute it.",
    sources=(_from_folder, _from_publisher),
    parse=_parse,
    rows={"train": 403_277, "validation": 110_722, "test": 57_532},
    remedy=f"connect to the internet, or put {_FILE} into $RECSERVE_DATA/{_FOLDER}; and {REMEDY}",
)
