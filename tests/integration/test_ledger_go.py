"""Go's own note and tlog packages judge a ledger: the checkpoint opens, the tree is the one that it signs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ledgers import open_desk

SOURCE = Path(__file__).parent / "go-ledger-check"
GO = shutil.which("go")
VECTORS = Path(__file__).parents[1] / "vectors" / "ledger"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GO is None:
        pytest.skip("needs Go 1.22 or newer on the path to build the judge")
    program = tmp_path_factory.mktemp("go") / "ledgercheck"
    # the real home: Go keeps its module and build caches there
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    command = [GO, "build", "-o", str(program), "."]
    built = subprocess.run(
        command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if built.returncode and ("dial tcp" in built.stderr or "no such host" in built.stderr or "proxy" in built.stderr):
        pytest.skip(f"needs the Go module proxy once, to fetch golang.org/x/mod: {built.stderr.strip()[-200:]}")
    assert built.returncode == 0, built.stderr
    return program


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
