"""Sources of the knowledge graph around the films of MovieLens: the wheel that ships it, and the titles of its ids.

KB4Rec (Zhao et al., Data Intelligence 1(2), 2019) links films to Freebase; the RecBole wheel ships the facts within one
step of films 1 to 1,682 as part of its MovieLens-100k. But the ids in `ml-100k.link` are those of the later MovieLens
sets (MovieLens-latest, where 127 is The Silences of the Palace), not those of MovieLens-100k (where it is The
Godfather): by title three links are right as they stand, and none of the 57 sequels among the films is one. So the
titles of MovieLens-latest come with the graph, and `training.data.movielens_sequences` links films by title and year.

Graph: the folder `$RECSERVE_DATA/ml-100k` with both files, each as it is or with gzip; then the wheel. Titles: the
folder `$RECSERVE_DATA/ml-latest-small`; then a copy on GitHub at a fixed commit.
"""

import io
import os
from pathlib import Path

import polars as pl

from training.data import movielens_files
from training.data.origin import Found, Origin, Report, Tables, download, read, verify

TITLES = (
    "https://raw.githubusercontent.com/xinyudong93/SVDBasedRecommenderAlgorithms/"
    "b74461375d08c0dabc7d5e12c1c480c6c5d89341/data/ml-latest-small/movies.csv"
)
_NAME = "ml-100k-graph"
_GRAPH = ("ml-100k.kg", "ml-100k.link")
_MOVIES = "movies.csv"
SHA256 = {
    "ml-100k.kg": "200a0636fa07c218119a42e5bac7aa3e26e3665a6f919c1b22909bd412b14779",
    "ml-100k.link": "524dca2c3d62619688ab99b3ec53ea2acb9b64d38eafec3e02bdd0dc6bb7d948",
    _MOVIES: "be2d8aa87741488d9261a9daf7d1bbfcf28a10ea89ccf37fee9f7f4367d10375",
}


def _graph_and_titles(report: Report) -> Found | None:
    graph = _graph_in_folder(report) or movielens_files.from_wheel(SHA256, _GRAPH, report)
    titles = _titles(report)
    if graph is None or titles is None:
        return None
    return Found(f"{graph.source} and {titles.source}", {**graph.files, **titles.files})


def _graph_in_folder(report: Report) -> Found | None:
    folder = movielens_files.folder()
    if folder is None:
        return None
    contents = {name: read(folder / name) for name in _GRAPH}
    if missing := [name for name, content in contents.items() if content is None]:
        report(f"{_NAME}: {folder} lacks {', '.join(missing)} (.gz or not); trying the next source")
        return None
    return Found(str(folder), {name: verify(SHA256, name, content or b"") for name, content in contents.items()})


def _titles(report: Report) -> Found | None:
    root = os.environ.get("RECSERVE_DATA")
    path = Path(root or "") / "ml-latest-small" / _MOVIES
    content, source = (read(path) if root else None), str(path)
    if content is None:
        content, source = download(_NAME, TITLES, report), TITLES
    return None if content is None else Found(source, {_MOVIES: verify(SHA256, _MOVIES, content)})


def _parse(files: dict[str, bytes]) -> Tables:
    """facts: head, relation, tail str, entities as Freebase's ids. links: movie int64 (MovieLens-latest), entity str.
    movies: movie int64, title str with the year."""
    facts = _table(files["ml-100k.kg"], ("head", "relation", "tail"))
    links = _table(files["ml-100k.link"], ("movie", "entity"))
    movies = pl.read_csv(files[_MOVIES], has_header=False, new_columns=["movie", "title", "genres"])
    return {"facts": facts, "links": links.cast({"movie": pl.Int64}), "movies": movies.select("movie", "title")}


def _table(content: bytes, columns: tuple[str, ...]) -> pl.DataFrame:
    schema = dict.fromkeys(columns, pl.String)
    return pl.read_csv(io.BytesIO(content), separator="\t", has_header=False, skip_rows=1, schema=schema)


ORIGIN = Origin(
    name=_NAME,
    what="Knowledge graph of MovieLens films: 91,631 facts around 1,598 of them",
    licence="Freebase facts (CC BY), linked by KB4Rec for research, shipped with RecBole (MIT), and titles of "
    "MovieLens-latest (GroupLens; no commercial use); cite W. X. Zhao et al., KB4Rec: A Data Set for Linking Knowledge "
    "Bases with Recommender Systems, Data Intelligence 1(2), 2019, and F. M. Harper and J. A. Konstan, The MovieLens "
    "Datasets: History and Context, ACM TiiS 5(4), 2015.",
    sources=(_graph_and_titles,),
    parse=_parse,
    rows={"facts": 91_631, "links": 1_598, "movies": 8_570},
    remedy="connect to the internet and a package index, or put ml-100k.kg and ml-100k.link into "
    "$RECSERVE_DATA/ml-100k and movies.csv into $RECSERVE_DATA/ml-latest-small",
)
