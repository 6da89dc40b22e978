"""Sources of Gowalla as LightGCN (He et al., SIGIR 2020) split it: a folder, and a publisher.

In order: the folder `$RECSERVE_DATA/lightgcn/gowalla` with the published files, each as it is or with gzip; the
publisher's repository at a fixed commit. The training part is read from the published graph of it: a square matrix over
users and then items, whose upper right part has a one for each pair.
"""

import io
import os
from pathlib import Path

import numpy as np
import polars as pl

from training.data.origin import Found, Origin, Report, Tables, download, read, verify

REPOSITORY = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch"
COMMIT = "947ca2b3b1d2d3545b114145710cb06c4e57b3d2"
_NAME, _GRAPH, _TEST = "gowalla", "s_adj_mat.npz", "test.txt"
SHA256 = {
    _GRAPH: "6ab3ab7aa1278da3717054c60258d88d2d2d78914fa62db2b13da9321e397cab",
    _TEST: "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
}
NUM_USERS = 29_858


def _from_folder(report: Report) -> Found | None:
    root = os.environ.get("RECSERVE_DATA")
    folder = Path(root or "") / "lightgcn" / "gowalla"
    if not root or not folder.is_dir():
        return None
    contents = {name: read(folder / name) for name in SHA256}
    if missing := [name for name, content in contents.items() if content is None]:
        report(f"{_NAME}: {folder} lacks {', '.join(missing)} (.gz or not); trying the next source")
        return None
    return Found(str(folder), {name: verify(SHA256, name, content or b"") for name, content in contents.items()})


def _from_publisher(report: Report) -> Found | None:
    files = {}
    for name in SHA256:
        content = download(_NAME, f"{REPOSITORY}/{COMMIT}/data/gowalla/{name}", report)
        if content is None:
            return None
        files[name] = verify(SHA256, name, content)
    return Found(f"{REPOSITORY}/{COMMIT}/data/gowalla", files)


def _parse(files: dict[str, bytes]) -> Tables:
    """train, test: user and item, int64, as published, from 0; a user's items by their ids in the training part, in
    the order of the file in the test part."""
    graph = np.load(io.BytesIO(files[_GRAPH]))
    starts = graph["indptr"][: NUM_USERS + 1].astype(np.int64)
    user = np.repeat(np.arange(NUM_USERS), np.diff(starts))
    item = graph["indices"][: starts[-1]].astype(np.int64) - NUM_USERS
    lines = [line.split() for line in files[_TEST].decode().splitlines()]
    tested = [(int(one), int(other)) for one, *others in lines for other in others]
    return {
        "train": pl.DataFrame({"user": user, "item": item}),
        "test": pl.DataFrame(tested, schema={"user": pl.Int64, "item": pl.Int64}, orient="row"),
    }


ORIGIN = Origin(
    name=_NAME,
    what="Gowalla: 1,027,370 places that 29,858 users were at, in LightGCN's given parts",
    licence="Gowalla check-ins (SNAP; cite Cho, Myers and Leskovec, KDD 2011; no licence is stated) as prepared by "
    "LightGCN-PyTorch, whose repository has no licence file: use it for research, and do not redistribute it.",
    sources=(_from_folder, _from_publisher),
    parse=_parse,
    rows={"train": 810_128, "test": 217_242},
    remedy=f"connect to the internet, or put {', '.join(SHA256)} into $RECSERVE_DATA/lightgcn/gowalla",
)
