"""What the films of MovieLens-100k are, beside who rated them: text, and a knowledge graph as second modality.

- Text: title with year, and genres.
- Second modality: the facts of the knowledge graph (`training.data.ml100k_graph_files`) in which the film is head or
  tail, each (relation, other entity) an attribute. Films are linked by title and year: 1,263 of them, with 90 % of the
  ratings. See `training.data.content`.
"""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.content import Attributes, attribute_vectors
from training.data.fetch import fetch
from training.data.formats import GENRES
from training.data.sentence_vectors import sentence_vectors
from training.interactions import Content, Report


def content(items: pl.DataFrame, cache: Path | None, report: Report) -> Content:
    """Of the films (item, title, genres), by id; the graph is fetched first where it is not cached."""
    graph = fetch("ml-100k-graph", cache, report)
    facts, links, movies = (pl.read_parquet(graph / f"{name}.parquet") for name in ("facts", "links", "movies"))
    held = graph_attributes(facts, linked(items, movies, links))
    return Content(sentence_vectors(texts(items), cache, report), attribute_vectors(held, len(items)))


def texts(items: pl.DataFrame) -> list[str]:
    """Of each film in the order of its id: "Toy Story (1995): Animation, Children's, Comedy"."""
    ordered = items.sort("item")
    return [f"{title}: {', '.join(genres)}" for title, genres in ordered.select("title", "genres").iter_rows()]


def linked(items: pl.DataFrame, movies: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """item, entity: the films whose title and year are those of a linked film of MovieLens-latest.

    Letters and digits are compared, without case and without other titles in brackets. `items`: item, title; `movies`:
    movie, title; `links`: movie, entity.
    """
    key = pl.col("title").str.to_lowercase().str.replace_all(r"\([^)]*\)(.)", "$1").str.replace_all("[^a-z0-9]", "")
    titled = links.join(movies, on="movie").select("entity", key=key)
    return items.select("item", key=key).join(titled, on="key").select("item", "entity").unique().sort("item")


def graph_attributes(facts: pl.DataFrame, links: pl.DataFrame) -> Attributes:
    """Each (relation, other entity) of a linked film, by whichever end of the fact it is.

    `facts`: head, relation, tail; `links`: item, entity.
    """
    as_head = facts.select(entity="head", attribute=pl.concat_str(pl.lit("head"), "relation", "tail", separator=" "))
    as_tail = facts.select(entity="tail", attribute=pl.concat_str(pl.lit("tail"), "relation", "head", separator=" "))
    pairs = links.join(pl.concat([as_head, as_tail]), on="entity").select("item", "attribute").unique()
    _, attribute = np.unique(pairs["attribute"].to_numpy(), return_inverse=True)
    return Attributes(pairs["item"].to_numpy(), attribute)


def genre_attributes(items: pl.DataFrame) -> Attributes:
    """Each genre of each film (item, genres) but the first one, which is "unknown"."""
    numbers = {name: number for number, name in enumerate(GENRES[1:])}
    listed = items.select("item", "genres").iter_rows()
    pairs = [(item, numbers[name]) for item, names in listed for name in names if name in numbers]
    return Attributes(*np.array(pairs, np.int64).reshape(-1, 2).T)
