"""MovieLens-100k as sequences, and films linked to their own entities, not to those of another set's ids."""

import os

import numpy as np
import polars as pl
import pytest
from training.data.movielens_sequences import graph_attributes, linked

from training.data import movielens_sequences
from training.data.fetch import default_cache, fetch

ITEMS = pl.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "title": ["Toy Story (1995)", "Alien (1979)", "Sabrina (1954)", "Shanghai Triad (Yao a yao) (1995)"],
        "genres": [["Animation", "Comedy"], [], [], []],
    }
)


@pytest.fixture(scope="module")
def ratings() -> pl.DataFrame:
    return pl.read_parquet(fetch("ml-100k") / "ratings.parquet")


@pytest.mark.slow
def test_a_users_ratings_are_in_the_order_of_time_and_row(ratings: pl.DataFrame) -> None:
    data = movielens_sequences.load(max_length=20)
    assert (len(data.user_ids), len(data.test), len(data.validation)) == (943, 943, 943)
    for user in (1, 405, 943):
        own = ratings.filter(pl.col("user") == user).sort("timestamp", maintain_order=True)["item"].to_list()
        assert data.sequence(user).tolist() == own
        row = int(np.searchsorted(data.user_ids, user))
        assert data.test.target[row] == own[-1]
        assert data.validation.target[row] == own[-2]
        assert data.test.batch(np.array([row])).items.tolist() == [own[-21:-1]]
    assert all(len(np.unique(sequence)) == len(sequence) for sequence in data.sequences)
    assert data.train_item_counts.sum() == 100_000 - 2 * 943


@pytest.mark.slow
def test_ids_titles_and_categories_are_those_of_the_published_films() -> None:
    data = movielens_sequences.load()
    assert data.schema["item_id"].cardinality == 1_683
    assert data.titles[127] == "Godfather, The (1972)"
    assert data.categories.max() == 18
    assert np.flatnonzero(data.categories == 0).tolist() == [0, 267, 1373], "two films have no genre"
    assert data.categories[1] == 3, "of Animation, Children's and Comedy the rarest"


def test_the_text_is_the_title_with_the_genres() -> None:
    assert movielens_sequences.texts(ITEMS)[0] == "Toy Story (1995): Animation, Comedy"


def test_films_are_linked_by_title_and_year_and_not_by_number() -> None:
    movies = pl.DataFrame(
        {
            "movie": [1, 2, 3, 4, 5],
            "title": [
                "Jumanji (1995)",
                "ALIEN (1979)",
                "Sabrina (1995)",
                "Shanghai Triad (Another title) (1995)",
                "Toy Story (1995)",
            ],
        }
    )
    links = pl.DataFrame({"movie": [1, 2, 3, 4], "entity": ["m.jumanji", "m.alien", "m.sabrina", "m.triad"]})
    assert linked(ITEMS, movies, links).rows() == [(2, "m.alien"), (4, "m.triad")]


def test_a_fact_counts_for_either_end_and_the_ends_differ() -> None:
    facts = pl.DataFrame(
        {"head": ["a", "b", "b", "x"], "relation": ["sequel", "sequel", "actor", "actor"], "tail": ["b", "c", "x", "y"]}
    )
    held = graph_attributes(facts, pl.DataFrame({"item": [1, 2, 3, 4], "entity": ["a", "b", "b", "c"]}))
    first, second, again, third = (set(held.attribute[held.item == item].tolist()) for item in (1, 2, 3, 4))
    assert (len(first), len(second), len(third)) == (1, 3, 1)
    assert second == again
    assert first != third, "to have b as a sequel is not to be b's sequel"


@pytest.mark.slow
def test_sequels_in_the_graph_are_sequels_by_title() -> None:
    """As published the links give pairs such as Son in Law and Girl 6: see `training.data.ml100k_graph_files`."""
    if not (default_cache() / "ml-100k-graph").is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip("the graph's titles are not here: recserve data fetch ml-100k-graph")
    folder = fetch("ml-100k-graph")
    facts, links, movies = (pl.read_parquet(folder / f"{name}.parquet") for name in ("facts", "links", "movies"))
    items = pl.read_parquet(fetch("ml-100k") / "items.parquet")
    film = linked(items, movies, links)
    assert (film["item"].n_unique(), film["entity"].n_unique()) == (1_263, 1_250)
    titled = film.join(items, on="item").select("entity", "title")
    pairs = (
        facts.filter(pl.col("relation") == "film.film.sequel")
        .join(titled, left_on="head", right_on="entity")
        .join(titled, left_on="tail", right_on="entity", suffix="_of_sequel")
    )
    shared = [first[:5] == second[:5] for first, second in pairs.select("title", "title_of_sequel").iter_rows()]
    assert len(shared) > 30
    assert sum(shared) / len(shared) > 0.6
