"""Go's own note and tlog packages judge a ledger: the checkpoint opens, the tree is the one that it signs."""

import subprocess
from pathlib import Path

import pytest
from go_judges import build_judge
from ledgers import open_desk

SOURCE = Path(__file__).parent / "go-ledger-check"
VECTORS = Path(__file__).parents[1] / "vectors" / "ledger"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_judge(SOURCE, tmp_path_factory.mktemp("go"), go="1.22", fetches="golang.org/x/mod")


def ask(judge: Path, vkey: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run([judge, vkey, folder], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("counts", [(1,), (2, 1), (256,), (255, 1, 1), (300, 500), (1, 66_000)])
def test_go_agrees_with_a_ledger_of_these_drains(judge: Path, tmp_path: Path, counts: tuple[int, ...]) -> None:
    with open_desk(tmp_path) as desk:
        for count in counts:
            if count < 1000:
                desk.record(count)
            else:
                record_quickly(desk.folder, count)
        size = sum(counts)
        assert ask(judge, str(desk.recorder.key), desk.folder) == (0, f"ok {size}")


def record_quickly(folder: Path, count: int) -> None:
    """Append small entries without the state: many are wanted, and only the tree is judged."""
    from ledgers import ORIGIN, SIGNER

    from tidegate.ledger.checkpoint import NoteKey
    from tidegate.ledger.log import Log
    from tidegate.ledger.writer import Head, append

    log = Log(folder, NoteKey(ORIGIN, SIGNER.public))
    checkpoint = log.checkpoint()
    assert checkpoint is not None
    edge = log.edge(checkpoint.size, checkpoint.size)
    append(log, Head(checkpoint, edge, log.tail(edge)), (f"entry {i}".encode() for i in range(count)), SIGNER)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ("v24_entry_changed", "tile/0/000: is not what the entries give"),
        ("v24_tile_changed", "tile/0/000: is not what the entries give"),
        ("v24_higher_tile_changed", "tile/1/000.p/1: is not what the entries give"),
        ("v24_entry_and_tile_changed", "tile/1/000.p/1: is not what the entries give"),
        ("v12_signature_does_not_hold", "invalid signature"),
        ("v12_signed_by_another_key", "no verifiable signatures"),
    ],
)
def test_go_refuses_the_vectors_that_we_refuse(judge: Path, vector: str, words: str) -> None:
    code, said = ask(judge, (VECTORS / vector / "vkey").read_text().strip(), VECTORS / vector)
    assert code == 1
    assert words in said


@pytest.mark.parametrize(("old", "size"), [(1, 2), (1, 300), (255, 256), (256, 300), (8, 300), (299, 300)])
def test_go_accepts_the_proofs_that_ride_in_covers_and_with_slips(
    judge: Path, tmp_path: Path, old: int, size: int
) -> None:
    from tidegate.ledger.proofs import consistency_path, read_range

    with open_desk(tmp_path) as desk:
        desk.record(size)
        read = desk.recorder.log.node_reader(size)
    roots = [read_range(count, read).root().hex() for count in (old, size)]
    nodes = [node.hex() for node in consistency_path(old, size, read)]
    words = ["consistent", str(old), roots[0], str(size), roots[1], *nodes]
    done = subprocess.run([judge, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"ok {size}\n"), done.stderr
    words[2] = "00" * 32
    assert subprocess.run([judge, *words], capture_output=True, timeout=60, check=False).returncode == 1


def test_go_accepts_a_co_signature_and_refuses_one_of_another_time(judge: Path, tmp_path: Path) -> None:
    from ledgers import ORIGIN, SIGNER

    from tidegate.ledger.checkpoint import NoteKey, sign_checkpoint
    from tidegate.ledger.cosignature import CosignerKey, cosign, open_cosignature
    from tidegate.trust.keys import FileSigner

    witness = FileSigner(bytes(32), "witness")
    key = CosignerKey("plant/low", witness.public)
    note = cosign(sign_checkpoint(ORIGIN, 7, bytes(32), SIGNER).data, key.name, witness, 1_772_000_000)
    assert open_cosignature(note, key) == 1_772_000_000
    path = tmp_path / "cosigned"
    path.write_bytes(note)
    command = [judge, "cosigned", str(NoteKey(ORIGIN, SIGNER.public)), str(key), path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ok 7\n"), done.stderr
    later = cosign(sign_checkpoint(ORIGIN, 8, bytes(32), SIGNER).data, key.name, witness, 1_772_000_000)
    mixed = note.rsplit(b"\n", 2)[0] + b"\n" + later.rsplit(b"\n", 2)[1] + b"\n"
    path.write_bytes(mixed)
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1


def test_go_accepts_a_receipt(judge: Path, tmp_path: Path) -> None:
    from tidegate.ledger.entries import Event, entry
    from tidegate.ledger.receipts import make_receipts, write_receipts

    with open_desk(tmp_path) as desk:
        desk.record(300)
        with desk.state.transaction() as tx:
            tx.queue(entry(Event.LOAD, subject="7f3a-0001", step="load", bundle_name="7f3a-0001"))
        desk.recorder.drain()
        desk.record(9)
        made = make_receipts(desk.recorder.log, "7f3a-0001")
        key = str(desk.recorder.key)
    write_receipts(made, tmp_path / "out", key)
    (path,) = (tmp_path / "out").glob("*.tlog-proof")
    done = subprocess.run([judge, "receipt", key, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ok 300\n"), done.stderr
