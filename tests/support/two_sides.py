"""Both sides as people have them: roots made by the installed command, and that command in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from receiver_world import SITE, LowSide
from warm_command import can_start_warm, run_warm

from tidegate.bundle.container import BundleFile
from tidegate.ledger.log import Log
from tidegate.ledger.verify import verify_ledger
from tidegate.state.bundles import BundleRow, BundleState, list_bundles
from tidegate.workspace import Workspace
from tidegate_sender.media.writing import write_volume

CHANNEL = "plant"
TIME_LIMIT_SECONDS = 120


def tidegate_command() -> list[str]:
    """The command as it is installed beside the running Python."""
    script = Path(sysconfig.get_path("scripts")) / "tidegate"
    return [str(script)] if script.is_file() else [sys.executable, "-c", "from tidegate.cli import main; main()"]


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, object]]:
        """The objects of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    @property
    def is_ours(self) -> bool:
        """Whether an error, if it was one, is a named one: no traceback, no unexpected fault, one prefix a line."""
        lines = self.err.splitlines()
        return "unexpected:" not in self.err and all(line.startswith("tidegate: ") for line in lines)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"


def run_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    prefix: Sequence[str] = (),
    program: Sequence[str] = (),
) -> Answer:
    """Run ``tidegate …``, or `program` in its place, to its end, standard input empty."""
    if not prefix and not program and can_start_warm(environment):
        return Answer(*run_warm(arguments, environment, folder, TIME_LIMIT_SECONDS))
    done = subprocess.run(
        [*prefix, *(program or tidegate_command()), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIME_LIMIT_SECONDS,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass
class Side:
    """One side's root. `events` gives what the ledger has got since it was last asked."""

    root: Path
    _seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._seen = len(self.entries())

    def run(
        self, *arguments: str | Path, prefix: Sequence[str] = (), program: Sequence[str] = (), **environment: str
    ) -> Answer:
        """Run ``tidegate …``, or `program` in its place, to its end."""
        variables = {**os.environ, "TIDEGATE_ROOT": str(self.root), **environment}
        return run_command([str(word) for word in arguments], variables, prefix=prefix, program=program)

    def good(self, *arguments: str | Path) -> Answer:
        """Run a command that must end with 0."""
        answer = self.run(*arguments)
        assert answer.code == 0, answer
        return answer

    def fails(self, code: int, *arguments: str | Path, **environment: str) -> Answer:
        """Run a command that must end with `code`, saying so in our own words."""
        answer = self.run(*arguments, **environment)
        assert answer.code == code, answer
        assert answer.is_ours, answer
        assert "tidegate: error: " in answer.err, answer
        return answer

    def start(
        self, *arguments: str | Path, prefix: Sequence[str] = (), program: Sequence[str] = (), **environment: str
    ) -> "subprocess.Popen[str]":
        """Start ``tidegate …``, or `program` in its place, its output in pipes."""
        command = [*prefix, *(program or tidegate_command()), *map(str, arguments)]
        variables = {**os.environ, "TIDEGATE_ROOT": str(self.root), **environment}
        return subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        workspace = Workspace.open(self.root)
        try:
            yield workspace
        finally:
            workspace.state.close()

    # --- what is there ------------------------------------------------------------------------

    def entries(self) -> list[dict[str, object]]:
        """Every entry of the ledger."""
        with self.workspace() as workspace:
            log = Log(self.root / "ledger", workspace.recorder.key)
            checkpoint = log.checkpoint()
            return [json.loads(data) for _, data in log.raw_entries(checkpoint.size)] if checkpoint else []

    def events(self) -> list[str]:
        """``event outcome`` or ``event outcome/reason`` of every entry since the last time, but for those of covers."""
        entries = self.entries()
        new, self._seen = [e for e in entries[self._seen :] if not _is_of_a_cover(e)], len(entries)
        return [f"{e['event']} {e['outcome']}" + (f"/{e['reason']}" if "reason" in e else "") for e in new]

    def rows(self) -> tuple[BundleRow, ...]:
        with self.workspace() as workspace, workspace.state.reading() as tx:
            return list_bundles(tx)

    def states(self) -> list[str]:
        """The states of all bundles, by number."""
        return [row.state.value for row in self.rows()]

    def spooled(self) -> list[str]:
        """Files and folders in the spool, without locks."""
        return sorted(path.name for path in (self.root / "spool").iterdir() if "lock" not in path.name)

    def quarantined(self) -> dict[str, set[str]]:
        """Digests of the blobs in quarantine, by bundle_id; all of them whole."""
        return {path.name: _whole_blobs(path) for path in (self.root / "quarantine").iterdir()}

    def stage(self) -> dict[str, str]:
        """What the stage names: place to digest."""
        path = self.root / "stages" / "default" / "index.json"
        if not path.is_file():
            return {}
        index = json.loads(path.read_bytes())
        name = "org.opencontainers.image.ref.name"
        return {item["annotations"][name]: item["digest"] for item in index["manifests"]}

    def check(self) -> None:
        """The root holds together: the ledger verifies, and each bundle is where its row says, whole."""
        with self.workspace() as workspace:
            verify_ledger(self.root / "ledger", workspace.recorder.key)
        rows = {row.bundle_id: row.state for row in self.rows() if row.side == "high"}
        full = {bundle for bundle, blobs in self.quarantined().items() if blobs}
        assert full >= {bundle for bundle, state in rows.items() if state is BundleState.QUARANTINED}
        # One that was moved and not yet recorded is whole, and the next `receive` records it; nothing loads it before.
        # Of one that was loaded it is what could not be removed: the next `load`, or `cleanup`, does.
        under_way = {BundleState.QUARANTINED, BundleState.WAITING, BundleState.RECEIVING, BundleState.INCOMPLETE}
        assert all(rows[bundle] in {*under_way, BundleState.LOADED} for bundle in full), rows
        _whole_blobs(self.root / "depot")
        blobs = _whole_blobs(self.root / "stages" / "default")
        assert {digest.removeprefix("sha256:") for digest in self.stage().values()} <= blobs


def _is_of_a_cover(entry: dict[str, object]) -> bool:
    """Whether the entry says that the low side's ledger goes on, as it does with every bundle (test_witness_cycle)."""
    counts = entry.get("counts")
    return entry["event"] == "witnessed" and isinstance(counts, dict) and set(counts) == {"entries"}


def _whole_blobs(layout: Path) -> set[str]:
    """The blobs of an OCI layout by hex digest, each compared with its name."""
    folder = layout / "blobs" / "sha256"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in names:
        assert sha256((folder / name).read_bytes()).hexdigest() == name, f"{folder / name} is not what its name says"
    return names


@dataclass
class Sides:
    """A low and a high side that are paired, and folders for sticks and other things under `folder`."""

    folder: Path
    low: Side
    high: Side

    @classmethod
    def make(cls, folder: Path) -> "Sides":
        """As on the first day: init, export, compare the words, pin."""
        folder.mkdir(parents=True, exist_ok=True)
        low, high = folder / "low", folder / "high"
        run_plain("--root", low, "init", "low", "--channel", CHANNEL, "--site", SITE)
        run_plain("--root", high, "init", "high", "--site", SITE)
        run_plain("--root", low, "keys", "export", folder / "plant.root")
        shown = json.loads(run_plain("--root", low, "keys", "show", "--json").splitlines()[-1])
        run_plain("--root", high, "trust", "add", folder / "plant.root", "--fingerprint", shown["fingerprint"])
        return cls(folder, Side(low), Side(high))

    def copy(self, folder: Path) -> "Sides":
        """Roots and sticks once more, as they are; nothing in a root knows its own place."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Sides(folder, Side(folder / "low"), Side(folder / "high"))

    @property
    def stick(self) -> Path:
        path = self.folder / "stick"
        path.mkdir(exist_ok=True)
        return path

    def make_files(self, name: str = "docs", *, size: int = 300_000, count: int = 3, seed: int = 1) -> Path:
        """A folder of files that do not compress, the same for the same seed."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for number in range(count):
            (folder / f"file-{number}.bin").write_bytes(noise(seed * 1000 + number, size))
        return folder

    def pack(self, name: str = "docs", **how: int) -> str:
        """Pack a folder of new files; the bundle's name."""
        answer = self.low.good("pack", self.make_files(name, **how), "--json")
        return str(answer.objects[-1]["bundle"])

    def send(self, bundle: str, stick: Path | None = None) -> Path:
        place = stick or self.stick
        self.low.good("send", bundle, place)
        return place

    def write(self, bundle: str, stick: Path, *, file_bytes: int) -> tuple[Path, ...]:
        """Write the packed bundle in several files, as `send` does with one that is larger than 4 GiB."""
        with self.low.workspace() as workspace:
            (path,) = (row.path for row in self.low.rows() if row.name == bundle and row.path)
            stick.mkdir(exist_ok=True)
            with BundleFile.open(workspace.root / path) as file:
                report = write_volume(
                    file,
                    stick,
                    signer=workspace.signer("carrier"),
                    preamble=workspace.trust.own_channel().to_bytes(),
                    file_bytes=file_bytes,
                )
        return report.files

    def forger(self) -> LowSide:
        """Somebody who holds all keys of the low side, and writes what its commands never would."""
        with self.low.workspace() as workspace:
            keys = {role: workspace.signer(role) for role in ("root", "release", "carrier", "ledger")}
            made = LowSide(CHANNEL, keys)  # type: ignore[arg-type]
            made.chain = workspace.trust.own_channel()
        return made

    def assert_untouched(self) -> None:
        """Nothing of anything came to the high side but entries."""
        assert self.high.quarantined() == {}
        assert self.high.spooled() == []
        assert self.high.stage() == {}
        self.high.check()

    def assert_arrives(self, bundle: str, name: str = "docs", stick: Path | None = None) -> None:
        """A good run does the whole job: receive, load, unpack, and the files are those that were packed."""
        self.high.good("receive", stick or self.stick)
        self.assert_loads(bundle, name)

    def assert_loads(self, bundle: str, name: str = "docs") -> None:
        target = self.folder / f"out-{bundle}"
        self.high.good("load", bundle, "--to", target)
        assert files_of(target / name) == files_of(self.folder / name)
        self.high.check()
        self.high.good("ledger", "verify")


def run_plain(*arguments: str | Path) -> str:
    done = run_command([str(word) for word in arguments], os.environ)
    assert done.code == 0, done
    return done.out


def noise(seed: int, size: int) -> bytes:
    import numpy as np

    return np.random.default_rng(seed).bytes(size)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
