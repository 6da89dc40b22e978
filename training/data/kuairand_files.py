"""Sources of the KuaiRand impressions that were liked or hated: a folder, and the publisher of the selection.

In order: the folder `$RECSERVE_DATA/kuairand_like_hate` with `interactions.tsv`, as it is or with gzip; the publisher's
repository at a fixed commit.
"""

import io
import os
from pathlib import Path

import polars as pl

from training.data.origin import Found, Origin, Report, Tables, download, read, verify

REPOSITORY = "https://raw.githubusercontent.com/alessandrosocc/predict_explicit_negative_feedback_kuairand"
COMMIT = "959232d6dd3c66f45e802436c2914e9584139eac"
URL = f"{REPOSITORY}/{COMMIT}/processed_data/processed_standard_kcore_15.csv"
_NAME = "kuairand"
_FOLDER, _FILE = "kuairand_like_hate", "interactions.tsv"
SHA256 = {_FILE: "321128c4543d3e658a1fa9788edd4049295b0d1ccf4469154326fb7769556e0a"}
COLUMNS = ("user_id", "video_id", "time_ms", "is_click", "long_view", "duration_ms", "label")
"""Of the published ones, those that are kept."""


def _from_folder(report: Report) -> Found | None:
    root = os.environ.get("RECSERVE_DATA")
    folder = Path(root or "") / _FOLDER
    if not root or not folder.is_dir():
        return None
    content = read(folder / _FILE)
    if content is None:
        report(f"{_NAME}: {folder} lacks {_FILE} (.gz or not); trying the next source")
        return None
    return Found(str(folder), {_FILE: verify(SHA256, _FILE, content)})


def _from_publisher(report: Report) -> Found | None:
    content = download(_NAME, URL, report)
    return None if content is None else Found(URL, {_FILE: verify(SHA256, _FILE, content)})


def _parse(files: dict[str, bytes]) -> Tables:
    """impressions: the columns `COLUMNS`, int64, in the published order; what came of an impression beside click, long
    view and like or hate is dropped."""
    table = pl.read_csv(io.BytesIO(files[_FILE]), separator="\t", columns=list(COLUMNS))
    return {"impressions": table.select(pl.col(COLUMNS).cast(pl.Int64))}


ORIGIN = Origin(
    name=_NAME,
    what="KuaiRand: 41,828 impressions of short videos that were liked or hated",
    licence="CC BY-SA 4.0, KuaiRand (Gao et al., CIKM 2022, https://kuairand.com): name it, and pass changed data on "
    "under the same licence.",
    sources=(_from_folder, _from_publisher),
    parse=_parse,
    rows={"impressions": 41_828},
    remedy=f"connect to the internet, or put {_FILE} into $RECSERVE_DATA/{_FOLDER}",
)
