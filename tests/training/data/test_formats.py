"""The two published forms, in miniature, give the same tables."""

import io
import zipfile

import polars as pl
import pytest

from training.data.formats import GENRES, Tables, parse_publisher_zip, parse_wheel_files

RATINGS = b"7\t2\t3\t881250949\n8\t1\t5\t891717742\n"
WHEEL = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS,
    "ml-100k.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's Comedy\n"
        "2\tMis\xe9rables, Les\t1995\tDrama\n"
        "3\tunkonwn\tunkonwn\tunknown\n"
    ).encode(),
    "ml-100k.user": (
        b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        b"7\t24\tM\ttechnician\t85711\n8\t53\tF\tother\tV1G4L\n"
    ),
}


def flags(*genres: str) -> str:
    return "|".join("1" if genre in genres else "0" for genre in GENRES)


TOY_STORY = flags("Animation", "Children's", "Comedy")


def publisher_zip() -> bytes:
    address = "http://us.imdb.com/M/title-exact?x"
    items = (
        f"1|Toy Story (1995)|01-Jan-1995||{address}|{TOY_STORY}\n"
        f"2|Mis\xe9rables, Les (1995)|01-Jan-1995||{address}|{flags('Drama')}\n"
        f"3|unknown||||{flags('unknown')}\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ml-100k/u.data", RATINGS)
        archive.writestr("ml-100k/u.item", items.encode("latin-1"))
        archive.writestr("ml-100k/u.user", b"7|24|M|technician|85711\n8|53|F|other|V1G4L\n")
    return buffer.getvalue()


@pytest.fixture(params=["publisher", "wheel"])
def tables(request: pytest.FixtureRequest) -> Tables:
    return parse_publisher_zip(publisher_zip()) if request.param == "publisher" else parse_wheel_files(WHEEL)


def test_ratings_keep_their_order_and_types(tables: Tables) -> None:
    assert tables.ratings.rows() == [(7, 2, 3, 881250949), (8, 1, 5, 891717742)]
    assert tables.ratings.dtypes == [pl.Int64, pl.Int64, pl.Int8, pl.Int64]


def test_items_have_the_year_in_the_title_and_genres_by_name(tables: Tables) -> None:
    assert tables.items.rows() == [
        (1, "Toy Story (1995)", ["Animation", "Children's", "Comedy"]),
        (2, "Mis\xe9rables, Les (1995)", ["Drama"]),
        (3, "unknown", ["unknown"]),
    ]


def test_users_keep_zip_codes_as_text(tables: Tables) -> None:
    assert tables.users.rows() == [(7, 24, "M", "technician", "85711"), (8, 53, "F", "other", "V1G4L")]


def test_both_forms_give_the_same_tables() -> None:
    both = zip(parse_publisher_zip(publisher_zip()), parse_wheel_files(WHEEL), strict=True)
    assert all(a.equals(b) for a, b in both)


def test_a_genre_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"ml-100k\.item: cannot read"):
        parse_wheel_files({**WHEEL, "ml-100k.item": b"header\n1\tX\t1990\tPolka\n"})
