"""Looking through a medium: by content, following nothing, touching nothing of others, never raising for damage."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_volumes import PREAMBLE, SIGNER, find_one, make_bundle, open_one, small_plan, write_planned, zero

from tidegate.carrier import medium as medium_module
from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import read_part
from tidegate.errors import MediaNotFoundError
from tidegate.text import printable
from tidegate.trust.keys import FileSigner
from tidegate.trust.rotation import create_channel_root

ROLES = ("root", "release", "carrier", "ledger")
BUNDLE = make_bundle(400_000)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    folder = tmp_path / "medium"
    folder.mkdir()
    write_planned(BUNDLE, folder, small_plan(BUNDLE, file_bytes=262144))
    return folder


def files_of(medium: Path) -> list[Path]:
    return sorted(medium.glob("TIDEGATE/*/*.TGV"))


def test_a_volume_is_found_with_its_files_and_preamble(medium: Path) -> None:
    contents = find_volumes(medium)
    (volume,) = contents.volumes
    assert sorted(volume.files) == [1, 2, 3]
    assert volume.preamble == PREAMBLE
    assert volume.spares == {}
    assert volume.frame.key_id == SIGNER.key_id
    assert parse_announcement(volume.frame).bundle_id == BUNDLE.bundle_id
    assert (contents.strangers, contents.damaged, contents.unlisted) == ((), (), 0)


def test_the_folder_of_the_bundle_or_one_file_may_be_named_as_well(medium: Path) -> None:
    assert len(find_one(medium / "TIDEGATE").files) == 3
    assert len(find_one(files_of(medium)[0].parent).files) == 3
    assert list(find_one(files_of(medium)[1]).files) == [2]


def test_files_that_lie_openly_on_the_medium_are_found_by_their_suffix(medium: Path) -> None:
    for path in files_of(medium):
        shutil.copy(path, medium / path.name.lower())
    shutil.rmtree(medium / "TIDEGATE")
    assert len(find_one(medium).files) == 3


def test_a_lower_case_folder_is_found(medium: Path) -> None:
    (medium / "TIDEGATE").rename(medium / "tidegate")
    assert len(find_one(medium).files) == 3


def test_several_bundles_and_two_volumes_of_one_are_kept_apart(medium: Path) -> None:
    other = make_bundle(70_000, seed=7)
    write_planned(other, medium, small_plan(other))
    write_planned(BUNDLE, medium, small_plan(BUNDLE), folder="second")
    volumes = find_volumes(medium).volumes
    ids = [parse_announcement(volume.frame).bundle_id for volume in volumes]
    assert sorted(ids) == sorted([BUNDLE.bundle_id, BUNDLE.bundle_id, other.bundle_id])
    assert len({volume.frame.tag for volume in volumes}) == 3


def test_strangers_are_listed_and_others_folders_not_entered(medium: Path) -> None:
    (medium / "holiday.jpg").write_bytes(b"jpg")
    (medium / "music").mkdir()
    (medium / "music" / "V001F001.TGV").write_bytes(files_of(medium)[0].read_bytes())
    (medium / "TIDEGATE" / "readme.txt").write_bytes(b"hello")
    contents = find_volumes(medium)
    assert contents.strangers == ("holiday.jpg", "music/", "TIDEGATE/readme.txt")
    assert contents.damaged == ()
    assert contents.volumes[0].spares == {}


@pytest.mark.parametrize("content", [b"", b"x", bytes(300_000)])
def test_a_file_that_should_be_ours_and_cannot_be_recognised_is_damaged(medium: Path, content: bytes) -> None:
    path = files_of(medium)[1]
    path.write_bytes(content)
    contents = find_volumes(medium)
    assert sorted(contents.volumes[0].files) == [1, 3]
    assert contents.damaged == (f"TIDEGATE/{path.parent.name}/{path.name}: nothing in it can be recognised",)


def test_nothing_is_followed_and_nothing_hangs(medium: Path) -> None:
    outside = medium.parent / "outside"
    shutil.copytree(medium / "TIDEGATE", outside)
    inside = medium / "TIDEGATE"
    (inside / "link").symlink_to(outside)
    (inside / "V001F009.TGV").symlink_to(files_of(medium)[0])
    os.mkfifo(inside / "V001F008.TGV")
    contents = find_volumes(medium)
    assert sorted(contents.strangers) == ["TIDEGATE/V001F008.TGV", "TIDEGATE/V001F009.TGV@", "TIDEGATE/link@"]
    assert contents.volumes[0].spares == {}


def test_a_tidegate_folder_that_is_a_link_is_a_stranger(tmp_path: Path, medium: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "TIDEGATE").symlink_to(medium / "TIDEGATE")
    contents = find_volumes(stick)
    assert contents.volumes == ()
    assert contents.strangers == ("TIDEGATE@",)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.TGV", "caf\\xe9.TGV"),
        (b"two\nlines.TGV", "two\\nlines.TGV"),
        (b"\x1b[31mred\x07.TGV", "\\x1b[31mred\\x07.TGV"),
        ("\u202egnp.TGV".encode(), "\\u202egnp.TGV"),
        (b"-rf .TGV", "-rf .TGV"),
        ("größe.TGV".encode(), "größe.TGV"),
    ],
)
def test_hostile_names_are_shown_harmless_and_their_files_read(medium: Path, name: bytes, shown: str) -> None:
    path = files_of(medium)[0]
    hostile = os.fsencode(path.parent) + b"/" + name
    os.rename(path, hostile)  # noqa: PTH104 (a name that is no text)
    reader = open_one(medium)
    assert read_part(reader, 2, 1 << 20) == BUNDLE.parts[2]
    assert printable(reader.found.files[1].path.name) == shown
    with open(hostile, "wb"):
        pass
    assert find_volumes(medium).damaged[0].startswith(f"TIDEGATE/{path.parent.name}/{shown}: nothing")


def test_one_label_is_enough(medium: Path) -> None:
    for path in files_of(medium):
        zero(path, 0, 4096)
    (volume,) = find_volumes(medium).volumes
    assert sorted(volume.files) == [1, 2, 3]
    assert volume.preamble == PREAMBLE


def test_without_labels_a_file_is_known_by_its_index_blocks(medium: Path) -> None:
    for path in files_of(medium):
        zero(path, 0, 4096)
        zero(path, path.stat().st_size - 4096, path.stat().st_size)
    (volume,) = find_volumes(medium).volumes
    assert sorted(volume.files) == [1, 2, 3]
    assert volume.preamble is None  # nothing vouches for it, and it is no chain of roots
    assert read_part(open_one(medium), 2, 1 << 20) == BUNDLE.parts[2]


def test_a_file_whose_both_ends_are_gone_is_known_by_its_middle(tmp_path: Path) -> None:
    bundle = make_bundle(6_000_000)
    write_planned(bundle, tmp_path, small_plan(bundle))
    (path,) = files_of(tmp_path)
    size = path.stat().st_size
    zero(path, 0, 2 << 20)
    zero(path, size - (2 << 20), size)
    assert sorted(find_one(tmp_path).files) == [1]


def test_the_preamble_comes_from_its_other_copy_when_one_is_damaged(medium: Path) -> None:
    for path in files_of(medium):
        zero(path, 4096, 8192)
    assert find_one(medium).preamble == PREAMBLE


def test_no_preamble_is_better_than_a_wrong_one(medium: Path) -> None:
    for path in files_of(medium):
        zero(path, 4100, 4200)
        zero(path, path.stat().st_size - 8192 + 4, path.stat().st_size - 8000)
    assert find_one(medium).preamble is None


def test_a_truncated_file_is_known_by_its_opening(medium: Path) -> None:
    for path in files_of(medium):
        os.truncate(path, path.stat().st_size // 2 + 7)
    assert sorted(find_one(medium).files) == [1, 2, 3]


def test_a_file_with_something_behind_its_end_is_read_as_ever(medium: Path) -> None:
    with files_of(medium)[0].open("ab") as file:
        file.write(os.urandom(5000))
    assert read_part(open_one(medium), 2, 1 << 20) == BUNDLE.parts[2]


def test_the_largest_of_several_copies_stands_first(medium: Path) -> None:
    path = files_of(medium)[0]
    short = path.with_name("A.TGV")
    short.write_bytes(path.read_bytes()[:20_000])
    volume = find_one(medium)
    assert [file.path for file in volume.copies(1)] == [path, short]


def test_a_label_whose_tag_is_not_its_announcements_is_ignored(medium: Path) -> None:
    from tidegate.carrier.blocks import Label, build_label, parse_label

    path = files_of(medium)[0]
    data = path.read_bytes()
    label = parse_label(data[:4096])
    fields = {name: getattr(label, name) for name in label.__slots__}
    path.write_bytes(build_label(Label(**{**fields, "tag": bytes(8)})) + data[4096:])
    assert sorted(find_one(medium).files) == [1, 2, 3]


def test_a_folder_too_deep_is_a_stranger(medium: Path) -> None:
    deep = medium / "TIDEGATE" / "1" / "2" / "3" / "4" / "5"
    deep.mkdir(parents=True)
    assert find_volumes(medium).strangers == ("TIDEGATE/1/2/3/4/",)


def test_a_folder_with_too_many_names_is_looked_at_as_far_as_the_limit(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (medium / f"file-{number:02d}").touch()
    monkeypatch.setattr(medium_module, "NAMES_MAX", 20)
    contents = find_volumes(medium)
    assert len(contents.strangers) <= 20
    assert contents.unlisted >= 1


def test_lists_are_bounded(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (medium / f"file-{number:02d}").touch()
    monkeypatch.setattr(medium_module, "LISTED_MAX", 10)
    contents = find_volumes(medium)
    assert len(contents.strangers) == 10
    assert contents.unlisted == 20


def test_what_cannot_be_opened_is_damaged(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = files_of(medium)[0]
    real = medium_module.open_regular

    def refuse(path: Path, flags: int = 0):  # type: ignore[no-untyped-def]
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags)

    monkeypatch.setattr(medium_module, "open_regular", refuse)
    contents = find_volumes(medium)
    assert contents.damaged[0].endswith("V001F001.TGV: Permission denied")
    assert sorted(contents.volumes[0].files) == [2, 3]


def test_no_medium_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        find_volumes(tmp_path / "nowhere")


def test_an_empty_medium_holds_nothing(tmp_path: Path) -> None:
    assert find_volumes(tmp_path).volumes == ()


def test_without_labels_the_copy_of_the_preamble_that_reads_as_a_chain_is_taken(tmp_path: Path) -> None:
    signers = {role: [FileSigner(bytes([number]) * 32, "ann")] for number, role in enumerate(ROLES)}
    chain = create_channel_root("plant", ["plant-7"], signers, 1_700_000_000).to_bytes()
    bundle = replace(BUNDLE, preamble=chain)
    write_planned(bundle, tmp_path, small_plan(bundle, file_bytes=262144))
    for path in files_of(tmp_path):
        zero(path, 0, 4100)  # the opening label, and the beginning of the first copy
        zero(path, path.stat().st_size - 4096, path.stat().st_size)
    assert find_volumes(tmp_path).volumes[0].preamble == chain


def test_the_preamble_of_a_file_with_a_label_goes_before_one_that_nothing_vouches_for(medium: Path) -> None:
    first = files_of(medium)[0]
    zero(first, 0, 4200)
    zero(first, first.stat().st_size - 8192 + 4, first.stat().st_size)
    volume = find_one(medium)
    assert sorted(volume.files) == [1, 2, 3]
    assert (volume.preamble, volume.is_preamble_sure) == (PREAMBLE, True)
