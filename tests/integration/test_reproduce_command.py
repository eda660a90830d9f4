"""A second person builds a bundle again from its sources, on a host without root or key, and compares one digest."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import Layout, push_by_skopeo
from registry import running_registry
from two_sides import Answer, Sides, noise

from tidegate.bundle import chunks
from tidegate.bundle.manifest import Compressor
from tidegate.depot.store import Depot
from tidegate_sender.packing import reproduction
from tidegate_sender.packing.reproduction import Verdict, reproduce


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def bundle_file(answer: Answer) -> Path:
    return Path(str(answer.objects[-1]["path"]))


@pytest.fixture
def packed(tmp_path: Path, sides: Sides, host: str) -> tuple[Path, Path]:
    """The transfer list with its lock, and the bundle that was packed from it."""
    work = tmp_path / "work"
    (work / "docs").mkdir(parents=True)
    (work / "docs" / "readme").write_text("read me" * 1000)
    (work / "docs" / "data").write_bytes(noise(5, 5_000_000))
    layout = Layout(work / "layout")
    layout.tag(layout.image([{"app": noise(6, 3_000_000)}, {"etc": b"x"}]), "v")
    push_by_skopeo(layout.folder, "v", f"{host}/{tmp_path.name.lower()}/app:1")
    transfer = work / "transfer.yaml"
    transfer.write_text(
        f"tidegate: 1\nimages:\n- {{ref: '{host}/{tmp_path.name.lower()}/app:1', ticket: T-1}}\nfiles: [docs]\n"
    )
    sides.low.good("lock", transfer)
    answer = sides.low.good("pack", transfer, "--json", "--expires", "30", "--classification", "internal")
    return transfer, bundle_file(answer)


def run_without_root(sides: Sides, tmp_path: Path, *arguments: str | Path) -> Answer:
    """As on a host that never was initialised; nothing must be made there."""
    root = tmp_path / "nobody"
    answer = sides.low.run("--root", root, *arguments)
    assert not root.exists()
    return answer


def test_a_second_person_without_root_or_key_builds_the_same_bundle_id(
    sides: Sides, tmp_path: Path, packed: tuple[Path, Path]
) -> None:
    transfer, bundle = packed
    other = tmp_path / "elsewhere"
    shutil.copytree(transfer.parent, other)  # times are kept, as rsync -a and tar keep them
    copy = shutil.copy(bundle, tmp_path / "carried.tgb")
    answer = run_without_root(sides, tmp_path, "reproduce", copy, other / "transfer.yaml", "--json")
    assert answer.code == 0, answer
    told = answer.objects[-1]
    assert told["verdict"] == "same"
    assert told["built_id"] == told["bundle_id"]


def test_a_bundle_is_built_again_from_the_depot_of_its_own_root(sides: Sides, packed: tuple[Path, Path]) -> None:
    answer = sides.low.good("reproduce", "1")
    assert "reproduced" in answer.out


def test_a_bundle_that_builds_on_another_is_built_again(
    sides: Sides, tmp_path: Path, packed: tuple[Path, Path]
) -> None:
    transfer, _bundle = packed
    stick = tmp_path / "stick"
    stick.mkdir()
    sides.low.good("send", "1", stick)
    (transfer.parent / "docs" / "new").write_text("one file more")
    sides.low.good("lock", transfer, "--update")
    second = bundle_file(sides.low.good("pack", transfer, "--since", "1", "--json"))
    answer = run_without_root(sides, tmp_path, "reproduce", second, transfer, "--json")
    assert answer.code == 0, answer
    assert answer.objects[-1]["verdict"] == "same"


def test_changed_sources_are_named(sides: Sides, tmp_path: Path, packed: tuple[Path, Path]) -> None:
    transfer, bundle = packed
    (transfer.parent / "docs" / "readme").write_text("somebody changed this")
    transfer.with_suffix(".lock").unlink()
    answer = run_without_root(sides, tmp_path, "reproduce", bundle, transfer)
    assert answer.code == 6, answer
    assert "files/docs: the bundle has sha256:" in answer.err
    assert "app:1" not in answer.err


def test_a_list_that_asks_for_more_or_less_or_another_ticket_is_told(
    sides: Sides, tmp_path: Path, packed: tuple[Path, Path]
) -> None:
    transfer, bundle = packed
    text = transfer.read_text()
    transfer.write_text(text.replace("files: [docs]\n", ""))
    assert "sources do not ask for it" in run_without_root(sides, tmp_path, "reproduce", bundle, transfer).err
    transfer.write_text(text.replace("T-1", "T-2"))
    assert "ticket" in run_without_root(sides, tmp_path, "reproduce", bundle, transfer).err


def test_what_is_no_bundle_and_a_source_that_is_gone_end_in_our_errors(
    sides: Sides, tmp_path: Path, packed: tuple[Path, Path]
) -> None:
    transfer, bundle = packed
    broken = tmp_path / "broken.tgb"
    broken.write_bytes(bundle.read_bytes()[:5000])
    assert run_without_root(sides, tmp_path, "reproduce", broken, transfer).code == 31
    assert run_without_root(sides, tmp_path, "reproduce", tmp_path / "none.tgb", transfer).code == 18
    assert run_without_root(sides, tmp_path, "reproduce", bundle).code == 2
    shutil.rmtree(transfer.parent / "docs")
    assert run_without_root(sides, tmp_path, "reproduce", bundle, transfer).code == 10


def test_nothing_stays_of_the_temporary_depot(sides: Sides, tmp_path: Path, packed: tuple[Path, Path]) -> None:
    transfer, bundle = packed
    work = tmp_path / "scratch"
    work.mkdir()
    assert run_without_root(sides, tmp_path, "reproduce", bundle, transfer, "--work", work).code == 0
    assert list(work.iterdir()) == []


def test_another_zstd_gives_the_same_content_in_other_frames(
    sides: Sides, packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _transfer, bundle = packed
    monkeypatch.setattr(chunks, "LEVEL", chunks.LEVEL + 9)
    monkeypatch.setattr(reproduction, "compressor", lambda: Compressor("zstd", "9.9.9", chunks.LEVEL))
    found = reproduce(bundle, Depot(sides.low.root / "depot", create=False))
    assert found.verdict is Verdict.SAME_CONTENT
    assert found.built_id != found.bundle_id
    assert found.own_compressor.version == "9.9.9"
    assert found.differences == ()


def test_other_frames_of_the_same_zstd_are_different(
    sides: Sides, packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _transfer, bundle = packed
    own = chunks.compressor()
    monkeypatch.setattr(chunks, "LEVEL", chunks.LEVEL + 9)
    monkeypatch.setattr(reproduction, "compressor", lambda: own)
    found = reproduce(bundle, Depot(sides.low.root / "depot", create=False))
    assert found.verdict is Verdict.DIFFERENT
    assert "frames differ" in found.differences[0]
