"""Paths of tiles and the bytes of entry bundles: rules L-2 to L-5."""

import pytest

from tidegate.errors import FormatError
from tidegate.ledger.tiles import TilePath, build_bundle, parse_bundle, parse_tile_path

PATHS = {
    "tile/0/000": TilePath(0, 0),
    "tile/0/000.p/1": TilePath(0, 0, 1),
    "tile/1/x001/x234/067": TilePath(1, 1234067),
    "tile/63/x001/000.p/255": TilePath(63, 1000, 255),
    "tile/entries/x012/345": TilePath(None, 12345),
}


@pytest.mark.parametrize(("text", "path"), PATHS.items())
def test_l03_paths_are_written_and_read_as_c2sp_has_them(text: str, path: TilePath) -> None:
    assert str(path) == text
    assert parse_tile_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/data/000",
        "tile/0/001/000",
        "tile/0/x000/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "tile/0/" + "x999/" * 40 + "999",
        "tile/0/" + "x999/" * 6 + "999",
    ],
)
def test_l03_parse_tile_path_refuses_what_no_tile_has(text: str) -> None:
    with pytest.raises(FormatError):
        parse_tile_path(text)


def test_l04_a_bundle_is_its_entries_with_big_endian_lengths() -> None:
    data = build_bundle([b"a", b"bc"])
    assert data == bytes.fromhex("00 01 61 00 02 62 63")
    assert parse_bundle(data, 2, what="b") == ((b"a", b"bc"), 0)
    assert parse_bundle(data, 1, what="b") == ((b"a",), 4)


def test_l04_parse_bundle_says_where_a_bundle_breaks_off() -> None:
    with pytest.raises(FormatError, match="ends within its entry 1"):
        parse_bundle(bytes.fromhex("00 01 61 00 02 62"), 2, what="b")
    with pytest.raises(FormatError, match="ends after 1 entries, 2 are expected"):
        parse_bundle(bytes.fromhex("00 01 61 00"), 2, what="b")


def test_l05_parse_bundle_refuses_an_empty_entry() -> None:
    with pytest.raises(FormatError, match="entry 0 is empty"):
        parse_bundle(bytes(2), 1, what="b")
