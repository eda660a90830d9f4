"""Receiving past a broken file system: from an image, by content alone."""

import errno
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from carved_images import PAGE, shuffled_image, volume_files, whole_image
from made_bundles import MadeBundle, content
from made_sets import striped_set
from receiver_world import HighSide, LowSide, SignedBundle, destroy, records

from tidegate.carrier import carved_search, carving
from tidegate.carrier.announcement import build_announcement
from tidegate.carrier.blocks import NO_ENTRIES, IndexBlock, build_index, parse_index
from tidegate.carrier.frames import PAYLOAD_OFFSET, tag_of
from tidegate.errors import MediaError, MediaNotFoundError, MediumLostError, NothingOnMediumError
from tidegate_receiver.intake.intake import ReceiveOptions, receive_media
from tidegate_receiver.intake.outcomes import MediumReport, OutcomeKind, ReceiveOutcome
from tidegate_sender.media.plan import plan_announcement

BLOBS = [content(1, 900_000), content(2, 500_000), content(3, 90_000)]


@pytest.fixture
def bundle(low: LowSide) -> SignedBundle:
    return low.bundle(BLOBS)


def carve(high: HighSide, *images: Path, dry_run: bool = False) -> MediumReport:
    workspace = high.workspace()
    try:
        return receive_media(workspace, images, ReceiveOptions(damaged=True, dry_run=dry_run))
    finally:
        workspace.state.close()


def carve_one(high: HighSide, *images: Path) -> ReceiveOutcome:
    (outcome,) = carve(high, *images).outcomes
    return outcome


def written(low: LowSide, bundle: MadeBundle, stick: Path, **how: object) -> list[Path]:
    low.write(bundle, stick, **how)  # type: ignore[arg-type]
    return volume_files(stick)


# --- what is found ----------------------------------------------------------------------------


def test_files_among_other_bytes_are_received_without_any_file_system(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    image = whole_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick", file_bytes=1 << 20))
    outcome = carve_one(high, image)
    assert (outcome.kind, outcome.symbols_missing) == (OutcomeKind.RECEIVED, 0)
    assert high.holds(bundle, BLOBS)
    assert {"receive", "quarantine"} <= set(high.events())


def test_the_ledger_names_the_image_and_its_size(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    image = whole_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick"))
    carve_one(high, image)
    inserted = [item for item in high.entries() if item["event"] == "media-inserted"]
    assert [item["medium"] for item in inserted] == [{"path": str(image), "capacity": image.stat().st_size}]


@pytest.mark.parametrize("cluster", [4 * PAGE, 16 * PAGE, 256 * PAGE])
def test_fragments_in_any_order_are_received(
    cluster: int, low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    files = written(low, bundle, tmp_path / "stick", redundancy=0.3)
    outcome = carve_one(high, shuffled_image(tmp_path / "stick.dd", files, cluster=cluster))
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert high.holds(bundle, BLOBS)


def test_records_that_borders_of_fragments_cut_are_joined(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    blobs = [random.Random(1).randbytes(5_000_000)]
    # Symbols of 64 KiB: each fragment holds one whole, and parts of two others.
    bundle = low.bundle(blobs)
    image = shuffled_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick"), cluster=32 * PAGE)
    outcome = carve_one(high, image)
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert high.holds(bundle, blobs)


def test_records_of_one_page_are_found_page_by_page(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    blobs = [content(1, 200_000)]
    bundle = low.bundle(blobs)
    files = written(low, bundle, tmp_path / "stick")
    assert carve_one(high, shuffled_image(tmp_path / "stick.dd", files, cluster=PAGE)).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, blobs)


@pytest.mark.parametrize("lead", [512, 3 * 512])
def test_clusters_need_not_begin_at_pages(
    lead: int, low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    files = written(low, bundle, tmp_path / "stick")
    image = shuffled_image(tmp_path / "stick.dd", files, cluster=64 * PAGE, lead=lead)
    assert carve_one(high, image).kind is OutcomeKind.RECEIVED


def test_a_small_bundle_inside_of_a_run_of_a_deleted_large_one_is_found(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    blobs = [random.Random(1).randbytes(9_000_000)]
    (old,) = written(low, low.bundle(blobs, sequence=2), tmp_path / "old")
    files = written(low, bundle, tmp_path / "stick", file_bytes=16 << 20)
    data = bytearray(old.read_bytes())
    blocks = [at for at in range(0, len(data), PAGE) if data[at : at + 4] == b"TGI1"]
    start = next(at for at, behind in pairwise(blocks) if behind - at > files[0].stat().st_size + 4 * PAGE) + 2 * PAGE
    data[start : start + files[0].stat().st_size] = files[0].read_bytes()
    image = tmp_path / "stick.dd"
    image.write_bytes(data)
    assert [outcome.sequence for outcome in carve(high, image).outcomes] == [1, 2]
    assert high.holds(bundle, BLOBS)


def test_several_bundles_lie_on_one_image(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    made = [low.bundle([content(seed, 120_000)], sequence=seed) for seed in (1, 2, 3)]
    files = [path for bundle in made for path in written(low, bundle, tmp_path / bundle.bundle_id)]
    report = carve(high, shuffled_image(tmp_path / "stick.dd", files, cluster=8 * PAGE))
    assert [outcome.sequence for outcome in report.outcomes] == [1, 2, 3]
    assert all(high.holds(bundle, [content(seed, 120_000)]) for seed, bundle in enumerate(made, start=1))


def test_twice_is_nothing_to_do(low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path) -> None:
    files = written(low, bundle, tmp_path / "stick")
    image = whole_image(tmp_path / "stick.dd", [*files, *files])
    assert [carve_one(high, image).kind for _ in range(2)] == [OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE]


def test_two_images_with_different_damage_make_one_whole_bundle(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    images = []
    for half in (0, 1):
        files = written(low, bundle, tmp_path / f"stick-{half}")
        for number, record in enumerate(sorted(records(tmp_path / f"stick-{half}"), key=lambda r: (r.block, r.symbol))):
            if number % 2 == half and record.part == 2:
                destroy(record)
        images.append(whole_image(tmp_path / f"{half}.dd", files, seed=half))
    first = carve_one(high, images[0])
    assert first.kind is OutcomeKind.INCOMPLETE
    assert carve_one(high, images[1]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_share_of_a_striped_set_is_carved_and_another_is_read_as_files(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    sticks = striped_set(low, bundle, tmp_path)
    image = shuffled_image(tmp_path / "one.dd", volume_files(sticks[0]), cluster=8 * PAGE)
    assert carve_one(high, image).missing_volumes == (2, 3)
    assert high.receive_one(sticks[2]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_images_of_two_sticks_of_a_striped_set_may_be_read_at_once(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    sticks = striped_set(low, bundle, tmp_path)[:2]
    images = [
        shuffled_image(tmp_path / f"{number}.dd", volume_files(stick), cluster=8 * PAGE, seed=number)
        for number, stick in enumerate(sticks)
    ]
    assert carve_one(high, *images).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_dry_run_says_what_would_come_and_writes_nothing(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    image = whole_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick"))
    (outcome,) = carve(high, image, dry_run=True).outcomes
    assert (outcome.kind, high.events(), high.spooled()) == (OutcomeKind.PLANNED, [], [])


@pytest.mark.parametrize("place", [0, 1])
def test_a_root_that_comes_with_the_image_counts_wherever_it_lies(
    place: int, low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    low.rotate()
    bundle = low.bundle(BLOBS)
    files = written(low, bundle, tmp_path / "stick")
    data = files[0].read_bytes()
    if place:  # the opening label and its preamble are gone
        files[0].write_bytes(bytes(2 * PAGE) + data[2 * PAGE :])
    image = shuffled_image(tmp_path / "stick.dd", files, cluster=64 * PAGE)
    assert carve_one(high, image).kind is OutcomeKind.RECEIVED
    assert high.events().count("root-change") == 2


def test_volumes_of_two_channels_whose_roots_have_one_length_keep_their_own(tmp_path: Path) -> None:
    lows = LowSide("red-plant"), LowSide("tan-plant")
    high = HighSide.make(tmp_path / "high", *lows)
    files = [path for low in lows for path in written(low, low.bundle(BLOBS), tmp_path / low.name)]
    assert len({len(low.chain.to_bytes()) for low in lows}) == 1
    report = carve(high, whole_image(tmp_path / "stick.dd", files))
    assert [outcome.kind.value for outcome in report.outcomes] == ["received", "received"]


# --- damage -----------------------------------------------------------------------------------


def test_index_blocks_at_one_end_of_their_runs_suffice(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    (file,) = written(low, bundle, tmp_path / "stick")
    data = bytearray(file.read_bytes())
    blocks = [at for at in range(0, len(data), PAGE) if data[at : at + 4] == b"TGI1"]
    for at in blocks[1::2]:
        data[at : at + PAGE] = bytes(PAGE)
    file.write_bytes(data)
    assert carve_one(high, whole_image(tmp_path / "stick.dd", [file])).kind is OutcomeKind.RECEIVED


def test_a_fragment_that_would_begin_before_the_medium_gives_its_end(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    (file,) = written(low, bundle, tmp_path / "stick")
    image = tmp_path / "stick.dd"
    image.write_bytes(file.read_bytes()[9 * PAGE :])
    assert carve_one(high, image).kind is OutcomeKind.RECEIVED


def fail_reads(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[int], bool]) -> None:
    """Let reads that touch a bad page fail, as a dying stick does."""
    preadv, pread = os.preadv, os.pread

    def touches(offset: int, length: int) -> bool:
        return any(is_bad(page) for page in range(offset // PAGE, -(-(offset + length) // PAGE)))

    def failing_preadv(fd: int, views: Iterable[memoryview], offset: int, *more: int) -> int:
        views = list(views)
        if touches(offset, sum(map(len, views))):
            raise OSError(errno.EIO, "Input/output error")
        return preadv(fd, views, offset, *more)

    def failing_pread(fd: int, length: int, offset: int) -> bytes:
        if touches(offset, length):
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "preadv", failing_preadv)
    monkeypatch.setattr(os, "pread", failing_pread)


def test_places_that_cannot_be_read_are_erasures(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = whole_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick"))
    fail_reads(monkeypatch, lambda page: page % 97 == 50)
    outcome = carve_one(high, image)
    monkeypatch.undo()
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert outcome.symbols_missing
    assert high.holds(bundle, BLOBS)


def test_a_medium_that_goes_away_is_lost(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = whole_image(tmp_path / "stick.dd", written(low, bundle, tmp_path / "stick"), gap=40 << 20)
    fail_reads(monkeypatch, lambda page: True)
    with pytest.raises(MediumLostError):
        carve(high, image)


# --- what is no medium ------------------------------------------------------------------------


def test_an_image_without_anything_of_ours_says_so(high: HighSide, tmp_path: Path) -> None:
    image = tmp_path / "empty.dd"
    image.write_bytes(random.Random(1).randbytes(100_000))
    with pytest.raises(NothingOnMediumError):
        carve(high, image)
    assert [item["outcome"] for item in high.entries() if item["event"] == "media-inserted"] == ["nothing"]


def test_only_devices_images_and_mounted_media_are_read(high: HighSide, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path, tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(MediaError):
            carve(high, place)
    with pytest.raises(MediaNotFoundError):
        carve(high, tmp_path / "nowhere")


# --- hostile images ---------------------------------------------------------------------------


def forged_blocks(low: LowSide, bundle: SignedBundle, count: int) -> bytes:
    """Index blocks of as many announcements, whole, and signed by a key that nobody knows but under a known name."""
    plan = plan_announcement(bundle)  # type: ignore[arg-type]
    blocks = []
    for number in range(count):
        data = bytearray(build_announcement(replace(plan, set=f"{number:016x}"), low.keys["carrier"]))
        data[PAYLOAD_OFFSET - 1] ^= 1
        announcement = bytes(data)
        tag = tag_of(announcement)
        blocks.append(build_index(IndexBlock(0, tag, 1, 0, NO_ENTRIES, NO_ENTRIES, announcement)))
    return b"".join(blocks)


def test_forged_announcements_take_no_room_from_true_ones(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    (file,) = written(low, bundle, tmp_path / "stick")
    image = tmp_path / "stick.dd"
    image.write_bytes(forged_blocks(low, bundle, carving.WAITING_VOLUMES_MAX + 200) + file.read_bytes())
    report = carve(high, image)
    assert high.holds(bundle, BLOBS)
    assert report.unlisted == 200
    assert len(high.entries()) < 40  # and the ledger is not filled


def test_index_blocks_that_point_elsewhere_cost_nothing_but_themselves(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    (file,) = written(low, bundle, tmp_path / "stick")
    data = file.read_bytes()
    blocks = [data[at : at + PAGE] for at in range(0, len(data), PAGE) if data[at : at + 4] == b"TGI1"]
    image = tmp_path / "stick.dd"
    image.write_bytes(b"".join(blocks * 40) + bytes(5 * PAGE) + data)
    assert carve_one(high, image).kind is OutcomeKind.RECEIVED


def test_entries_that_lie_are_damage(low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path) -> None:
    (file,) = written(low, bundle, tmp_path / "stick")
    data = bytearray(file.read_bytes())
    blocks = [at for at in range(0, len(data), PAGE) if data[at : at + 4] == b"TGI1"]
    at = blocks[len(blocks) // 2]
    index = parse_index(bytes(data[at : at + PAGE]))
    after = index.after.copy()
    after["digest"] = 0
    data[at : at + PAGE] = build_index(replace(index, after=after))
    file.write_bytes(data)
    assert carve_one(high, whole_image(tmp_path / "stick.dd", [file])).kind is OutcomeKind.RECEIVED


def test_a_stranger_s_channel_is_refused_beside_ours(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path
) -> None:
    stranger = LowSide("stranger")
    files = written(stranger, stranger.bundle(BLOBS), tmp_path / "theirs") + written(low, bundle, tmp_path / "stick")
    kinds = sorted(outcome.kind.value for outcome in carve(high, whole_image(tmp_path / "stick.dd", files)).outcomes)
    assert kinds == ["received", "refused"]
    assert "media-rejected/channel-unknown" in high.events()


def test_a_medium_is_searched_a_limited_number_of_times(
    low: LowSide, high: HighSide, bundle: SignedBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carved_search, "RECORDS_MAX", 64)  # one run a pass
    monkeypatch.setattr(carved_search, "PASSES_MAX", 3)
    passes = []
    run = carved_search._Pass.run
    monkeypatch.setattr(carved_search._Pass, "run", lambda *given: passes.append(run(*given)))
    files = written(low, low.bundle([content(5, 3_000_000)]), tmp_path / "stick")
    image = shuffled_image(tmp_path / "stick.dd", files, cluster=16 * PAGE)
    carve(high, image)
    assert len(passes) <= 3
