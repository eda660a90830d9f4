"""Blobs, names and garbage of a depot."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate import files
from tidegate.canonical import dumps
from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.incoming import INCOMING
from tidegate.depot.store import Depot
from tidegate.errors import BlobDamagedError, BlobMissingError, DepotError, DiskFullError, GraphError, HostError
from tidegate.oci import EMPTY_BYTES, OCI_EMPTY, OCI_MANIFEST, PLATFORMS

HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
OTHER = "sha256:" + "0" * 64


def add_artifact(commit: BlobCommit, content: bytes) -> Descriptor:
    config, layer = commit.add(EMPTY_BYTES, OCI_EMPTY), commit.add(content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    return commit.add(dumps(manifest), OCI_MANIFEST)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_new_depot_is_an_oci_layout(depot: Depot) -> None:
    assert json.loads((depot.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((depot.folder / "index.json").read_text())["manifests"] == []


def test_opening_a_depot_again_leaves_it_as_it_is(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.reference("a", add_artifact(commit, b"a"))
    before = (depot.folder / "index.json").read_bytes()
    assert Depot(depot.folder).references() == depot.references()
    assert (depot.folder / "index.json").read_bytes() == before


def test_a_blob_is_there_after_its_commit_and_not_before(depot: Depot) -> None:
    with depot.commit() as commit:
        with commit.writer(HELLO, 5) as writer:
            writer.write(b"hel")
            writer.write(b"lo")
            assert writer.finish() == Descriptor("application/octet-stream", HELLO, 5)
        assert not depot.has(HELLO)
        assert commit.has(HELLO)
    assert depot.has(HELLO, 5)
    assert depot.read_blob(HELLO, max_bytes=5) == b"hello"
    assert depot.check_blob(HELLO) == 5
    assert list((depot.folder / INCOMING).iterdir()) == []


def test_a_committed_blob_cannot_be_written_by_accident(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.add(b"hello")
    assert depot.blob_path(HELLO).stat().st_mode & 0o222 == 0


def test_a_writer_refuses_another_digest_than_expected(depot: Depot) -> None:
    with depot.commit() as commit, pytest.raises(BlobDamagedError, match=HELLO), commit.writer(OTHER) as writer:
        writer.write(b"hello")
        writer.finish()
    assert list(depot.digests()) == []


@pytest.mark.parametrize("content", [b"hell", b"hello!"])
def test_a_writer_refuses_another_size_than_expected(depot: Depot, content: bytes) -> None:
    with depot.commit() as commit, pytest.raises(BlobDamagedError, match="5"), commit.writer(HELLO, 5) as writer:
        writer.write(content)
        writer.finish()
    assert list(depot.digests()) == []


def test_an_error_inside_a_commit_leaves_nothing_behind(depot: Depot) -> None:
    with pytest.raises(ZeroDivisionError), depot.commit() as commit:
        commit.add(b"hello")
        commit.reference("a", Descriptor(OCI_MANIFEST, HELLO, 5))
        raise ZeroDivisionError
    assert list(depot.digests()) == []
    assert depot.references() == {}
    assert list((depot.folder / INCOMING).iterdir()) == []


def test_a_blob_already_there_is_not_written_again(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.add(b"hello")
    inode = depot.blob_path(HELLO).stat().st_ino
    with depot.commit() as commit:
        with commit.writer() as writer:
            writer.write(b"hello")
            writer.finish()
        assert commit.new_bytes == 0
    assert depot.blob_path(HELLO).stat().st_ino == inode


def test_a_blob_of_the_wrong_length_is_replaced_when_it_comes_again(depot: Depot) -> None:
    depot.blob_path(HELLO).write_bytes(b"hel")
    with depot.commit() as commit:
        commit.add(b"hello")
    assert depot.check_blob(HELLO) == 5


def test_many_blobs_cost_a_handful_of_syncs(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files.SYNCS.count
    with depot.commit() as commit:
        for number in range(500):
            commit.add(f"blob {number}".encode())
        commit.reference("a", add_artifact(commit, b"a"))
    assert files.SYNCS.count - before <= 5
    assert len(list(depot.digests())) == 503


def test_all_is_synced_before_it_is_renamed_and_named_last(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_rename, real_write = Path.rename, Depot._write_index
    monkeypatch.setattr("tidegate.depot.commit.sync_fd", lambda fd: steps.append("sync"))
    monkeypatch.setattr("tidegate.depot.commit.sync_folder", lambda folder: steps.append("sync folder"))
    monkeypatch.setattr(Path, "rename", lambda self, target: steps.append("rename") or real_rename(self, target))
    monkeypatch.setattr(Depot, "_write_index", lambda *args: steps.append("index") or real_write(*args))
    with depot.commit() as commit:
        commit.reference("a", commit.add(b"hello", OCI_MANIFEST))
    assert steps[:4] == ["sync", "rename", "sync folder", "index"]


def test_reading_a_missing_blob_names_it(depot: Depot) -> None:
    for call in (
        lambda: depot.size(HELLO),
        lambda: depot.open_blob(HELLO),
        lambda: depot.read_blob(HELLO, max_bytes=9),
    ):
        with pytest.raises(BlobMissingError, match=HELLO):
            call()


def test_reading_a_damaged_blob_names_both_digests(depot: Depot) -> None:
    depot.blob_path(OTHER).write_bytes(b"hello")
    with pytest.raises(BlobDamagedError, match=f"{OTHER}.*{HELLO}"):
        depot.read_blob(OTHER, max_bytes=100)
    with pytest.raises(BlobDamagedError):
        depot.check_blob(OTHER)


def test_reading_refuses_a_blob_above_the_limit(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.add(b"hello")
    with pytest.raises(DepotError, match="more than the 4 bytes"):
        depot.read_blob(HELLO, max_bytes=4)


@pytest.mark.parametrize("digest", ["", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "sha512:" + "0" * 128])
def test_what_is_no_digest_never_becomes_a_path(depot: Depot, digest: str) -> None:
    with pytest.raises(GraphError):
        depot.blob_path(digest)


@pytest.mark.parametrize("share", [True, False])
def test_adopt_takes_a_file_from_elsewhere(depot: Depot, tmp_path: Path, share: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    with depot.commit() as commit:
        assert commit.adopt(source, HELLO, share=share).size == 5
    assert depot.check_blob(HELLO) == 5
    assert (depot.blob_path(HELLO).stat().st_ino == source.stat().st_ino) is share
    assert source.exists()


@pytest.mark.parametrize("share", [True, False])
def test_adopt_refuses_a_file_whose_bytes_are_others(depot: Depot, tmp_path: Path, share: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"jello")
    with depot.commit() as commit, pytest.raises(BlobDamagedError):
        commit.adopt(source, HELLO, share=share)
    assert not depot.has(HELLO)


def test_adopt_names_a_file_that_is_not_there(depot: Depot, tmp_path: Path) -> None:
    with depot.commit() as commit, pytest.raises(BlobMissingError, match=HELLO):
        commit.adopt(tmp_path / "nothing", HELLO)


def test_names_are_kept_with_their_annotations(depot: Depot) -> None:
    descriptor = Descriptor(OCI_MANIFEST, HELLO, 5, annotations={PLATFORMS: "linux/amd64"}, artifact_type="x/y")
    depot.set_reference("localhost:5000/app:1", descriptor)
    depot.set_reference("another", descriptor)
    assert depot.references() == {"another": descriptor, "localhost:5000/app:1": descriptor}
    assert list(depot.references()) == ["another", "localhost:5000/app:1"]
    depot.remove_reference("another")
    assert depot.reference("another") is None
    assert depot.reference("localhost:5000/app:1") == descriptor


def test_setting_what_is_set_does_not_write_the_index(depot: Depot) -> None:
    descriptor = Descriptor(OCI_MANIFEST, HELLO, 5)
    depot.set_reference("a", descriptor)
    inode = (depot.folder / "index.json").stat().st_ino
    depot.set_reference("a", descriptor)
    assert (depot.folder / "index.json").stat().st_ino == inode


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schemaVersion":2}', '{"schemaVersion":2,"manifests":[{}]}'])
def test_a_broken_index_is_named(depot: Depot, text: str) -> None:
    (depot.folder / "index.json").write_text(text)
    with pytest.raises(DepotError, match=r"index\.json"):
        depot.references()


def test_processes_that_name_artifacts_at_once_lose_no_name(depot: Depot) -> None:
    code = (
        "import sys; from pathlib import Path; from tidegate.depot.store import Depot\n"
        "depot = Depot(Path(sys.argv[1]))\n"
        "for number in range(10):\n"
        "    with depot.commit() as commit:\n"
        "        blob = commit.add(f'{sys.argv[2]} {number}'.encode())\n"
        "        commit.add(b'shared')\n"
        "        commit.reference(f'{sys.argv[2]}-{number}', blob)\n"
    )
    command = [sys.executable, "-c", code, str(depot.folder)]
    running = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(depot.references()) == 30
    assert len(list(depot.digests())) == 31


def test_what_a_killed_process_left_is_found_and_removed(depot: Depot) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tidegate.depot.store import Depot\n"
        "with Depot(Path(sys.argv[1])).commit() as commit:\n"
        "    commit.add(b'hello'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert python(code, str(depot.folder)).returncode == -signal.SIGKILL
    garbage = depot.garbage()
    assert len(garbage.temporaries) == 1
    assert garbage.size_bytes == 5
    assert depot.remove_abandoned() == 1
    assert list((depot.folder / INCOMING).iterdir()) == []


def test_a_commit_under_way_is_no_garbage(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.add(b"hello")
        assert depot.garbage().temporaries == ()
        assert depot.remove_abandoned() == 0
    assert depot.has(HELLO)


def test_garbage_is_what_no_name_and_no_kept_artifact_reaches(depot: Depot) -> None:
    with depot.commit() as commit:
        named, kept = add_artifact(commit, b"named"), add_artifact(commit, b"kept")
        left = add_artifact(commit, b"left")
        commit.reference("named", named)
    garbage = depot.garbage(keep=[kept])
    assert left.digest in garbage.blobs
    assert len(garbage.blobs) == 2
    depot.remove_garbage(garbage)
    assert depot.garbage(keep=[kept]).blobs == ()
    assert depot.has(named.digest)
    assert depot.has(kept.digest)


def test_garbage_is_not_judged_when_a_graph_is_broken(depot: Depot) -> None:
    depot.set_reference("a", Descriptor(OCI_MANIFEST, HELLO, 5))
    with pytest.raises(DepotError):
        depot.garbage()


def test_a_full_disk_is_named_and_leaves_the_depot_as_it_was(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from tidegate.depot.store import Depot\n"
        "from tidegate.errors import DiskFullError\n"
        "depot = Depot(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    with depot.commit() as commit: commit.add(bytes(100000))\n"
        "except DiskFullError as error: print(error)\n"
    )
    done = python(code, str(tmp_path / "depot"))
    assert "no space left" in done.stdout, done.stderr
    depot = Depot(tmp_path / "depot")
    assert list(depot.digests()) == []
    assert depot.garbage().temporaries == ()


def test_a_disk_error_while_syncing_names_nothing(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tidegate.depot.commit.sync_fd", fail)
    with pytest.raises(HostError, match="Input/output"), depot.commit() as commit:
        commit.reference("a", commit.add(b"hello"))
    assert depot.references() == {}
    assert not depot.has(HELLO)


def test_commit_in_between_keeps_what_was_finished(depot: Depot) -> None:
    with pytest.raises(DiskFullError), depot.commit() as commit:
        commit.add(b"hello")
        commit.commit()
        commit.add(b"lost")
        raise DiskFullError("full")
    assert list(depot.digests()) == [HELLO]


def test_a_group_reads_back_what_it_holds(depot: Depot) -> None:
    with depot.commit() as commit:
        commit.add(b"hello")
        assert commit.read_blob(HELLO, max_bytes=5) == b"hello"
        with pytest.raises(DepotError):
            commit.read_blob(HELLO, max_bytes=4)
    assert os.access(depot.blob_path(HELLO), os.R_OK)
