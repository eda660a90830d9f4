"""A transfer list held to digests: ``tidegate lock``, and what `plan` and `pack` make of the file that it writes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import Layout, push_by_skopeo
from registry import running_registry
from two_sides import Answer, Side, Sides

from tidegate.state.bundles import BundleState
from tidegate_sender.collect.lists.lock import read_lock


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class Work:
    """A layout to push from, a list, and a low side to run commands on."""

    def __init__(self, folder: Path, low: Side, host: str) -> None:
        self.folder, self.low, self.host = folder, low, host
        self.layout = Layout(folder / "layout")
        self.list = folder / "transfer.yaml"
        self.lock = folder / "transfer.lock"
        self.repository = folder.name.replace("_", "-").lower()

    def push(self, name: str, content: bytes) -> str:
        """Let the tag stand for a new image; its digest."""
        image = self.layout.tag(self.layout.image([{"bin/app": content}]), content.decode())
        push_by_skopeo(self.layout.folder, content.decode(), f"{self.host}/{self.repository}/{name}")
        return image.digest

    def reference(self, name: str) -> str:
        return f"{self.host}/{self.repository}/{name}"

    def ask(self, *names: str, more: str = "") -> None:
        lines = "".join(f"  - {self.reference(name)}\n" for name in names)
        self.list.write_text(f"tidegate: 1\nimages:\n{lines}{more}")

    def locked(self) -> dict[str, str]:
        return {entry.name.rpartition("/")[2]: entry.digest for entry in read_lock(self.lock)}

    def packed(self, answer: Answer) -> dict[str, str]:
        # A number packed again has two rows, in the order of their seconds.
        rows = {row.name: row for row in self.low.rows() if row.state is not BundleState.DISCARDED}
        row = rows[str(answer.objects[-1]["bundle"])]
        return {str(item["name"]).rpartition("/")[2]: str(item["digest"]) for item in row.artifacts}


@pytest.fixture
def work(tmp_path: Path, sides: Sides, host: str) -> Work:
    return Work(tmp_path / "work", sides.low, host)


@pytest.fixture(autouse=True)
def make_folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()


def test_a_tag_that_moved_after_the_lock_still_brings_the_locked_digest(work: Work) -> None:
    first = work.push("app:1", b"first")
    work.ask("app:1")
    work.low.good("lock", work.list)
    second = work.push("app:1", b"second")
    assert first != second
    planned = work.low.good("plan", work.list, "--json").objects[-1]
    assert planned["failures"] == []
    answer = work.low.good("pack", work.list, "--json")
    assert work.packed(answer) == {"app:1": first}
    work.low.good("lock", work.list, "--update")
    assert work.packed(work.low.good("pack", work.list, "--json")) == {"app:1": second}


def test_a_lock_adds_what_is_new_keeps_what_is_locked_and_renews_what_is_named(work: Work) -> None:
    one, two = work.push("one:1", b"one-a"), work.push("two:1", b"two-a")
    work.ask("one:1")
    work.low.good("lock", work.list)
    new_one, new_two = work.push("one:1", b"one-b"), work.push("two:1", b"two-b")
    work.ask("two:1", "one:1")
    work.low.good("lock", work.list)
    assert work.locked() == {"one:1": one, "two:1": new_two}
    newest_two = work.push("two:1", b"two-c")
    answer = work.low.good("lock", work.list, "one:1", "--update", "--json")
    assert work.locked() == {"one:1": new_one, "two:1": new_two}
    assert answer.objects[-1]["changes"] == [{"name": work.reference("one:1"), "change": "changed"}]
    work.low.good("lock", "--update", work.list)
    assert work.locked()["two:1"] == newest_two
    work.ask("one:1")
    work.low.good("lock", work.list)
    assert work.locked() == {"one:1": new_one}
    assert two not in work.lock.read_text()


def test_a_lock_that_holds_already_is_left_alone(work: Work) -> None:
    work.push("app:1", b"same")
    work.ask("app:1")
    work.low.good("lock", work.list)
    before = work.lock.stat()
    answer = work.low.good("lock", work.list, "--json")
    assert answer.objects[-1]["outcome"] == "nothing"
    assert work.lock.stat().st_ino == before.st_ino


def test_a_dry_run_writes_no_lock(work: Work) -> None:
    work.push("app:1", b"dry")
    work.ask("app:1")
    assert "nothing was changed" in work.low.good("lock", work.list, "--dry-run").out
    assert not work.lock.exists()


def test_pack_and_plan_refuse_what_the_lock_does_not_have(work: Work) -> None:
    work.push("app:1", b"known")
    work.ask("app:1")
    work.low.good("lock", work.list)
    work.ask("app:1", "app:2")
    for command in ("pack", "plan"):
        answer = work.low.fails(4, command, work.list)
        assert f"transfer.yaml:4:5: {work.reference('app:2')} is not in {work.lock}" in answer.err
    assert work.low.rows() == ()


def test_other_platforms_than_the_locked_ones_are_refused(work: Work) -> None:
    children = {
        name: work.layout.image([{"a": name.encode()}], architecture=name[6:])
        for name in ("linux/amd64", "linux/s390x")
    }
    work.layout.tag(work.layout.index(children), "multi")
    push_by_skopeo(work.layout.folder, "multi", work.reference("multi:1"), every_platform=True)
    work.list.write_text(f"tidegate: 1\nimages:\n- ref: {work.reference('multi:1')}\n  platforms: [linux/amd64]\n")
    work.low.good("lock", work.list)
    (entry,) = read_lock(work.lock)
    assert entry.asked.platforms == ("linux/amd64",)
    assert work.packed(work.low.good("pack", work.list, "--json")) == {"multi:1": children["linux/amd64"].digest}
    work.list.write_text(work.list.read_text().replace("amd64", "s390x"))
    assert "for linux/s390x is not in" in work.low.fails(4, "pack", work.list).err


def test_files_are_locked_by_their_tree_and_a_changed_one_stops_the_pack(work: Work) -> None:
    docs = work.folder / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("as it was locked")
    work.list.write_text("tidegate: 1\nfiles: [docs]\n")
    work.low.good("lock", work.list)
    bundle = work.packed(work.low.good("pack", work.list, "--json"))
    assert bundle == work.locked()
    (docs / "a.txt").write_text("as somebody changed it")
    answer = work.low.fails(5, "pack", work.list)
    assert work.locked()["docs"] in answer.err
    work.low.good("lock", work.list, "files/docs", "--update")
    assert work.packed(work.low.good("pack", work.list, "--json")) == work.locked() != bundle


def test_an_image_of_a_layout_is_locked_though_its_tag_moves(work: Work) -> None:
    first = work.layout.tag(work.layout.image([{"a": b"1"}]), "v")
    work.list.write_text("tidegate: 1\nlayouts:\n- {path: layout, tag: v, name: example.org/tool:1}\n")
    work.low.good("lock", work.list)
    work.layout.entries.clear()
    work.layout.tag(work.layout.image([{"a": b"2"}]), "v")
    assert work.packed(work.low.good("pack", work.list, "--json")) == {"tool:1": first.digest}


def test_a_lock_can_be_made_where_nothing_was_initialised_and_from_another_folder(work: Work, tmp_path: Path) -> None:
    work.push("app:1", b"anywhere")
    (work.folder / "docs").mkdir()
    work.ask("app:1", more="files: [./docs]\n")
    stranger = tmp_path / "no-root"
    work.low.good("--root", stranger, "lock", work.list)
    assert not stranger.exists()
    answer = work.low.good("--root", stranger, "lock", os.path.relpath(work.list), "--json")
    assert answer.objects[-1]["outcome"] == "nothing"


def test_a_source_that_cannot_be_resolved_leaves_the_lock_as_it_was(work: Work) -> None:
    work.push("app:1", b"there")
    work.ask("app:1")
    work.low.good("lock", work.list)
    before = work.lock.read_bytes()
    work.ask("app:1", "gone:1", "gone:2")
    answer = work.low.fails(10, "lock", work.list)
    assert "gone:1" in answer.err
    assert "gone:2" in answer.err
    assert work.lock.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tidegate-lock: 2\nartifacts: []\n", "version"),
        ("tidegate-lock: 1\nartifacts:\n- {name: a, kind: files, digest: sha256:00, size: 1}\n", "no digest"),
        ("tidegate-lock: 1\nartifacts: &a [*a]\n", "alias"),
        ("tidegate-lock: 1\n", "artifacts"),
        ("\x00", "YAML"),
    ],
)
def test_a_damaged_lock_is_refused_and_named(work: Work, text: str, said: str) -> None:
    work.ask("app:1")
    work.lock.write_text(text)
    answer = work.low.fails(2, "pack", work.list)
    assert "transfer.lock:" in answer.err
    assert said in answer.err


def test_names_that_fit_nothing_and_names_without_update_are_refused(work: Work) -> None:
    work.push("app:1", b"name")
    work.ask("app:1")
    work.low.good("lock", work.list)
    assert "fits nothing" in work.low.fails(2, "lock", work.list, "other:1", "--update").err
    assert "--update" in work.low.fails(2, "lock", work.list, "app:1").err
    assert json.loads(json.dumps(work.locked()))
