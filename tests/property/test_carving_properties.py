"""Whatever lies on an image, a walk over it ends, in bounded memory, with nothing believed that is not signed."""

import random
from pathlib import Path

import pytest
from carved_images import PAGE, TrustAll, volume_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_volumes import make_bundle, small_plan, write_planned

from tidegate.carrier import carving as carving_module
from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.blocks import NO_ENTRIES, IndexBlock, build_index
from tidegate.carrier.carved_reader import CarvedReader
from tidegate.carrier.carved_search import DigestSearch
from tidegate.carrier.carving import Carving
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.parts import read_part
from tidegate.carrier.raw_medium import RawMedium
from tidegate.errors import MediaError

RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BUNDLE = make_bundle(120_000)


def volume_bytes(folder: Path) -> bytes:
    """One small volume: 30 symbols of a page in groups of two blocks."""
    file = folder / "whole"
    if not file.exists():
        write_planned(BUNDLE, folder / "stick", small_plan(BUNDLE))
        file.write_bytes(b"".join(path.read_bytes() for path in volume_files(folder / "stick")))
    return file.read_bytes()


def carve(image: Path, judge: TrustAll) -> tuple[Carving, list[bytes | None]]:
    """Walk over the image, and read the chunks of every volume that was found; None where they are not whole."""
    with RawMedium(image) as medium:
        carving = Carving(medium, judge)
        carving.run()
        search = DigestSearch(medium, carving.phases)
        return carving, [_read(volume, search) for volume in carving.volumes if volume.is_believed]


def _read(volume: object, search: DigestSearch) -> bytes | None:
    found = FoundVolume(volume.frame, volume.preamble, volume.preamble_length, {}, {})  # type: ignore[attr-defined]
    try:
        reader = CarvedReader(found, parse_announcement(volume.frame), volume, search)  # type: ignore[arg-type, attr-defined]
        return read_part(reader, 2, 1 << 22)
    except MediaError:
        return None


@RUNS
@given(
    st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"TGI1", b"TGL1", b"TGA1", bytes(512)])), max_size=40)
)
def test_any_bytes_end_with_nothing_found(tmp_path: Path, pieces: list[bytes]) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"".join(piece.ljust(-(-len(piece) // 512) * 512, b"\0") for piece in pieces))
    carving, read = carve(image, TrustAll())
    assert read == []
    assert carving.volumes == ()


@RUNS
@given(st.integers(0, 2**32), st.integers(1, 24), st.integers(0, 12))
def test_pages_in_any_order_with_others_between_give_the_content_or_nothing(
    tmp_path: Path, seed: int, run: int, lost: int
) -> None:
    chance = random.Random(seed)
    data = volume_bytes(tmp_path)
    fragments = [data[at : at + run * PAGE] for at in range(0, len(data), run * PAGE)]
    for _ in range(min(lost, len(fragments) - 1)):
        fragments[chance.randrange(len(fragments))] = chance.randbytes(PAGE)
    fragments += [chance.randbytes(PAGE * chance.randrange(3)) for _ in range(5)]
    chance.shuffle(fragments)
    image = tmp_path / "image"
    image.write_bytes(b"".join(fragments))
    _, read = carve(image, TrustAll())
    assert set(read) <= {BUNDLE.parts[2], None}
    if not lost:
        assert read == [BUNDLE.parts[2]]


@RUNS
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_flipped_bytes_anywhere_are_damage_and_no_more(tmp_path: Path, seed: int, flips: int) -> None:
    chance = random.Random(seed)
    data = bytearray(volume_bytes(tmp_path))
    for _ in range(flips):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    image = tmp_path / "image"
    image.write_bytes(data)
    _, read = carve(image, TrustAll())
    assert set(read) <= {BUNDLE.parts[2], None}


def test_what_nobody_vouches_for_is_read_by_nobody(tmp_path: Path) -> None:
    volume_bytes(tmp_path)
    judge = TrustAll(believes=False)
    carving, read = carve(tmp_path / "whole", judge)
    assert read == []
    assert [volume.is_believed for volume in carving.volumes] == [False]
    assert judge.asked <= 10  # identical announcements count once, and once more for each root that is found


def test_blocks_that_all_name_a_preamble_do_not_have_the_medium_read_again_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger's index blocks are valid by their own digest, and each may point at 64 KiB before it."""
    monkeypatch.setattr(carving_module, "PREAMBLE_PLACES_MAX", 10)
    forged = IndexBlock(0, bytes(8), 1, 60_000, NO_ENTRIES, NO_ENTRIES, b"")
    image = tmp_path / "image"
    image.write_bytes(build_index(forged) * 400)
    asked = []
    with RawMedium(image) as medium:
        read_block = medium.read_block

        def counted(offset: int, length: int = PAGE) -> bytes | None:
            asked.append(length)
            return read_block(offset, length)

        monkeypatch.setattr(medium, "read_block", counted)
        carving = Carving(medium, TrustAll())
        carving.run()
    assert carving.stats.index_blocks == 400
    assert sum(asked) <= 10 * 60_000
    assert carving.volumes == ()
