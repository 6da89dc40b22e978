"""Sources of the Amazon sequences of S3-Rec: Beauty and Sports, with keywords, attributes and LETTER's ids for Beauty.

Four publishers share the files of a set: sequences and attributes come from S3-Rec (Zhou et al., CIKM 2020), the
product code (ASIN) of each item from Hua et al. (How to Index Item IDs, SIGIR-AP 2023), keywords by product code from
IDGenRec (Tan et al., SIGIR 2024), semantic ids of Beauty from LETTER (Wang et al., CIKM 2024). Each is looked for in
the folder `$RECSERVE_DATA`, in the publisher's folder given below, as it is or with gzip; then in the publishers'
repositories at fixed commits. The sha256 is that of the unpacked file, so both sources give the same bytes.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from training.data.origin import Found, Origin, Report, Tables, download, read, verify

_RAW = "https://raw.githubusercontent.com"
S3REC = f"{_RAW}/RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5/data"
INDEXING = f"{_RAW}/Wenyueh/LLM-RecSys-ID/2200ad9fef647ef755c01d6d7e5c5de3082606c5/data"
IDGENREC = f"{_RAW}/agiresearch/IDGenRec/a297185aa5b6cd6de9dcf8b8182052ee8e0b3261/rec_datasets"
LETTER = f"{_RAW}/HonghuiBao2000/LETTER/8d0154e28de37dbb6e24871c508ad8ddb1921cda/data"
LETTER_LEVELS = ("a", "b", "c", "d")
_LICENCE = (
    "Amazon reviews (J. McAuley; no licence is stated: cite He and McAuley, Ups and Downs, WWW 2016) as published by "
    "S3-Rec, LLM-RecSys-ID (MIT), IDGenRec and LETTER, of which only the second has a licence file: use it for "
    "research, and do not redistribute it."
)


class _File(NamedTuple):
    path: str
    """Under $RECSERVE_DATA, without `.gz`."""
    url: str
    sha256: str


BEAUTY = {
    "sequences": _File(
        "s3rec/Beauty.txt",
        f"{S3REC}/Beauty.txt",
        "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
    ),
    "attributes": _File(
        "s3rec/Beauty_item2attributes.json",
        f"{S3REC}/Beauty_item2attributes.json",
        "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4",
    ),
    "asins": _File(
        "s3rec_text/beauty_datamaps.json",
        f"{INDEXING}/beauty/datamaps.json",
        "715ab04838ff1ba21238475ed453a89e8c30aa6214b904d27a79e4168fc7b612",
    ),
    "keywords": _File(
        "s3rec_text/idgenrec_Beauty_item_text.txt",
        f"{IDGENREC}/Beauty/item_generative_indexing_phase_0.txt",
        "1a90f934fe506747f094b181f791ece593e2f86bb15e5420d910e6de4882b456",
    ),
    "letter": _File(
        "letter/Beauty.index.json",
        f"{LETTER}/Beauty/Beauty.index.json",
        "be3fb890e59b5443824cdebc560ef349191b97f20d3aecad4727de2d6b212c82",
    ),
}
SPORTS = {
    "sequences": _File(
        "s3rec/Sports_and_Outdoors.txt",
        f"{S3REC}/Sports_and_Outdoors.txt",
        "2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2",
    ),
    "attributes": _File(
        "s3rec/Sports_and_Outdoors_item2attributes.json",
        f"{S3REC}/Sports_and_Outdoors_item2attributes.json",
        "7fb10733ac4f1811384a52144cdefa7fcc7536fa80a7232c5da9bd789155c34b",
    ),
    "asins": _File(
        "s3rec_text/sports_datamaps.json",
        f"{INDEXING}/sports/datamaps.json",
        "4a4d9785ab99a89a499f25023892a647a2280086041c9c9d7169c9dc2ee0b715",
    ),
    "keywords": _File(
        "s3rec_text/idgenrec_Sports_item_text.txt",
        f"{IDGENREC}/Sports/item_generative_indexing_phase_0.txt",
        "710b6d9b661aebcd065b861e4076f5e3cc66bdd9735e462ca2db90d5cc951593",
    ),
}


def _folder_of(name: str, wanted: dict[str, _File]) -> Callable[[Report], Found | None]:
    def source(report: Report) -> Found | None:
        root = os.environ.get("RECSERVE_DATA")
        if not root:
            return None
        contents = {key: read(Path(root) / file.path) for key, file in wanted.items()}
        if missing := [wanted[key].path for key, content in contents.items() if content is None]:
            report(f"{name}: {root} lacks {', '.join(missing)} (.gz or not); trying the next source")
            return None
        return Found(root, {key: _verified(wanted, key, content or b"") for key, content in contents.items()})

    return source


def _publishers_of(name: str, wanted: dict[str, _File]) -> Callable[[Report], Found | None]:
    def source(report: Report) -> Found | None:
        files = {}
        for key, file in wanted.items():
            content = download(name, file.url, report)
            if content is None:
                return None
            files[key] = _verified(wanted, key, content)
        return Found(f"the publishers' repositories in {_RAW}", files)

    return source


def _verified(wanted: dict[str, _File], key: str, content: bytes) -> bytes:
    return verify({file.path: file.sha256 for file in wanted.values()}, wanted[key].path, content)


def _parse(files: dict[str, bytes]) -> Tables:
    """sequences: user, item int64, a user's rows in order of time. items: item int64 (1 to N), asin and keywords str,
    attributes list[int64], ascending. letter, where published: item int64, levels a to d int64, 0 to 255."""
    tables = {
        "sequences": _sequences(files["sequences"]),
        "items": _items(files["asins"], files["keywords"], files["attributes"]),
    }
    return tables | ({"letter": _letter(files["letter"])} if "letter" in files else {})


def _sequences(content: bytes) -> pl.DataFrame:
    rows = [[int(number) for number in line.split()] for line in content.decode().splitlines()]
    pairs = [(user, item) for user, *items in rows for item in items]
    return pl.DataFrame(pairs, schema={"user": pl.Int64, "item": pl.Int64}, orient="row")


def _items(asins: bytes, keywords: bytes, attributes: bytes) -> pl.DataFrame:
    asin_of = {int(item): asin for item, asin in json.loads(asins)["id2item"].items()}
    words_of = dict(line.split(" ", 1) for line in keywords.decode().splitlines())
    attributes_of = {int(item): sorted(set(values)) for item, values in json.loads(attributes).items()}
    rows = [(item, asin, words_of[asin].strip(), attributes_of.get(item, [])) for item, asin in sorted(asin_of.items())]
    schema = {"item": pl.Int64, "asin": pl.String, "keywords": pl.String, "attributes": pl.List(pl.Int64)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _letter(content: bytes) -> pl.DataFrame:
    """LETTER counts items from 0; a token is `<level_number>`."""
    rows = [
        (int(item) + 1, *(int(token.strip("<>").partition("_")[2]) for token in tokens))
        for item, tokens in json.loads(content).items()
    ]
    return pl.DataFrame(rows, schema={name: pl.Int64 for name in ("item", *LETTER_LEVELS)}, orient="row")


def _origin(name: str, what: str, wanted: dict[str, _File], rows: dict[str, int]) -> Origin:
    paths = ", ".join(file.path for file in wanted.values())
    return Origin(
        name=name,
        what=what,
        licence=_LICENCE,
        sources=(_folder_of(name, wanted), _publishers_of(name, wanted)),
        parse=_parse,
        rows=rows,
        remedy=f"connect to the internet, or put {paths} into $RECSERVE_DATA",
    )


ORIGINS = (
    _origin(
        "beauty",
        "Amazon Beauty (S3-Rec's split): 198,502 choices by 22,363 users",
        BEAUTY,
        {"sequences": 198_502, "items": 12_101, "letter": 12_101},
    ),
    _origin(
        "sports",
        "Amazon Sports and Outdoors (S3-Rec's split): 296,337 choices by 35,598 users",
        SPORTS,
        {"sequences": 296_337, "items": 18_357},
    ),
)
