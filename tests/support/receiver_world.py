"""Two sides for tests of receiving: a low side that can write anything, a high side that is the real one."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from made_bundles import MadeBundle, make_body, make_manifest, manifest_bytes

from tidegate.bundle.cover import Piece, build_cover, signatures_piece
from tidegate.carrier.announcement import Announcement, parse_announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.volume import VolumeLayout
from tidegate.config import Role
from tidegate.initialisation import initialise
from tidegate.ledger.log import Log
from tidegate.state.bundles import BundleRow, list_bundles
from tidegate.trust.envelope import MANIFEST_TYPE, sign_detached
from tidegate.trust.keys import FileSigner
from tidegate.trust.root import Chain
from tidegate.trust.rotation import create_channel_root, rotate
from tidegate.workspace import Workspace
from tidegate_receiver.intake.intake import ReceiveOptions, receive
from tidegate_receiver.intake.outcomes import ReceiveOutcome
from tidegate_sender.media.writing import write_volume

CREATED = 1_772_000_000  # 2026-02-25
SITE = "plant-7"


def signer(text: str, holder: str = "ada") -> FileSigner:
    """A key that is the same in every run."""
    return FileSigner(sha256(text.encode()).digest(), holder)


@dataclass(frozen=True)
class SignedBundle(MadeBundle):
    """A made bundle as the media writer takes it."""

    preamble: bytes = b""


@dataclass
class LowSide:
    """A channel's keys and root."""

    name: str = "plant"
    keys: dict[str, FileSigner] = field(default_factory=dict)
    thresholds: dict[str, int] = field(default_factory=dict)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        for role in ("root", "release", "carrier", "ledger"):
            self.keys.setdefault(role, signer(f"{self.name} {role}"))
        self.chain = create_channel_root(
            self.name, (SITE,), {role: [key] for role, key in self.keys.items()}, CREATED, thresholds=self.thresholds
        )

    def add_release_key(self, text: str, holder: str, *, threshold: int = 1) -> FileSigner:
        """One more release key, in the next version of the root."""
        return self._add_key("release", text, holder, threshold)

    def add_carrier_key(self, text: str, holder: str) -> FileSigner:
        """One more carrier key, in the next version of the root."""
        return self._add_key("carrier", text, holder, 1)

    def _add_key(self, role: str, text: str, holder: str, threshold: int) -> FileSigner:
        made, root = signer(text, holder), self.chain.newest
        entry = replace(root.keys[self.keys[role].key_id], public=made.public.hex(), holder=holder)
        before = root.roles[role]
        after = replace(before, keys=tuple(sorted([*before.keys, made.key_id])), threshold=threshold)
        self.rotate(keys=root.keys | {made.key_id: entry}, roles=root.roles | {role: after})
        return made

    def rotate(self, **changes: object) -> None:
        """The root's next version."""
        self.chain = rotate(self.chain, [self.keys["root"]], CREATED, **changes)

    def bundle(
        self,
        blobs: list[bytes],
        *,
        signers: list[FileSigner] | None = None,
        chunk_bytes: int = 16_384,
        pieces: tuple[Piece, ...] = (),
        body: object = None,
        **changes: object,
    ) -> SignedBundle:
        """A signed bundle; `changes` are fields of the manifest."""
        made_body = body or make_body(blobs, chunk_bytes=chunk_bytes)
        manifest = make_manifest(
            made_body,  # type: ignore[arg-type]
            blobs,
            channel=self.chain.channel_id,
            **{"channel_name": self.name, **changes},
        )
        data = manifest_bytes(manifest)
        envelope = sign_detached(data, MANIFEST_TYPE, signers or [self.keys["release"]])
        return SignedBundle(manifest, data, made_body, build_cover([signatures_piece(envelope), *pieces]))  # type: ignore[arg-type]

    def write(
        self,
        bundle: MadeBundle,
        medium: Path,
        *,
        carrier: FileSigner | None = None,
        preamble: bytes | None = None,
        file_bytes: int = 16 << 20,
        redundancy: float = 0.1,
    ) -> tuple[Path, ...]:
        """Write the bundle to a folder, as a sender does."""
        medium.mkdir(parents=True, exist_ok=True)
        report = write_volume(
            bundle,  # type: ignore[arg-type]
            medium,
            signer=carrier or self.keys["carrier"],
            preamble=self.chain.to_bytes() if preamble is None else preamble,
            sync=False,
            read_back=False,
            file_bytes=file_bytes,
            redundancy=redundancy,
        )
        return report.files


@dataclass
class HighSide:
    """A high side's root, and what it says of itself."""

    root: Path

    @classmethod
    def make(cls, root: Path, *lows: LowSide, site: str = SITE) -> "HighSide":
        initialise(root, Role.HIGH, sites=(site,), holder="ben", passphrase=None)
        made = cls(root)
        for low in lows:
            workspace = made.workspace()
            workspace.trust.pin(low.chain, workspace.signer("root"))
        return made

    def workspace(self, **settings: object) -> Workspace:
        workspace = Workspace.open(self.root, role=Role.HIGH)
        return replace(workspace, settings=replace(workspace.settings, **settings))  # type: ignore[arg-type]

    def receive(self, medium: Path, **settings: object) -> tuple[ReceiveOutcome, ...]:
        workspace = self.workspace(**settings)
        try:
            return receive(workspace, medium, ReceiveOptions())
        finally:
            workspace.state.close()

    def receive_one(self, medium: Path, **settings: object) -> ReceiveOutcome:
        (outcome,) = self.receive(medium, **settings)
        return outcome

    def events(self) -> list[str]:
        """Every entry of the ledger as ``event`` or ``event/reason``, without those of the first day."""
        return [
            item["event"] + (f"/{item['reason']}" if "reason" in item else "")
            for item in self.entries()
            if item["event"] not in {"init", "media-inserted"}
        ]

    def entries(self) -> list[dict[str, object]]:
        workspace = self.workspace()
        log = Log(self.root / "ledger", workspace.recorder.key)
        checkpoint = log.checkpoint()
        workspace.state.close()
        assert checkpoint is not None
        return [json.loads(data) for _, data in log.raw_entries(checkpoint.size)]

    def rows(self) -> tuple[BundleRow, ...]:
        workspace = self.workspace()
        try:
            with workspace.state.reading() as tx:
                return list_bundles(tx)
        finally:
            workspace.state.close()

    def state_of(self, bundle: MadeBundle) -> str:
        return next((row.state.value for row in self.rows() if row.bundle_id == bundle.bundle_id), "")

    def quarantine(self, bundle: MadeBundle) -> Path:
        return self.root / "quarantine" / bundle.bundle_id

    def holds(self, bundle: MadeBundle, blobs: list[bytes]) -> bool:
        """Whether quarantine has exactly these blobs, byte for byte."""
        folder = self.quarantine(bundle) / "blobs" / "sha256"
        found = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}
        return found == {sha256(blob).hexdigest(): blob for blob in blobs}

    def spooled(self) -> list[str]:
        """What lies in the spool."""
        return sorted(path.name for path in (self.root / "spool").iterdir() if path.is_dir())


# --- damage -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One record of a volume: its symbol, and where it lies."""

    part: int
    block: int
    symbol: int
    source_count: int
    file: Path
    offset: int
    size: int


def announced(medium: Path) -> Announcement:
    return parse_announcement(find_volumes(medium).volumes[0].frame)


def records(medium: Path) -> Iterator[Record]:
    """Every record of the first volume of a medium."""
    found = find_volumes(medium).volumes[0]
    announcement = parse_announcement(found.frame)
    layout = VolumeLayout(announcement, found.preamble_length)
    for run in (run for section in range(layout.section_count) for run in layout.section_runs(section)):
        geometry = announcement.geometry(run.part)
        order = run.order(geometry)
        first = geometry.group_blocks(run.group)[0]
        for number, (position, symbol) in enumerate(order.tolist()):
            block = first + position
            yield Record(
                run.part,
                block,
                symbol,
                geometry.block_source_count(block),
                found.files[run.file_number].path,
                run.records_offset + number * run.symbol_size,
                run.symbol_size,
            )


def destroy(record: Record, *, junk: int = 0xEE) -> None:
    """Overwrite a record, as a bad place of a medium does."""
    with record.file.open("r+b") as file:
        file.seek(record.offset)
        file.write(bytes([junk]) * record.size)


def destroy_in_blocks(medium: Path, part: int, *, beyond: int, seed: int = 1) -> int:
    """In each block of a part destroy as many records as it has repairs, and `beyond` more, everywhere they lie."""
    chance = random.Random(seed)
    repairs = announced(medium).geometry(part).repair_count
    blocks: dict[int, dict[int, list[Record]]] = {}
    for record in records(medium):
        if record.part == part:
            blocks.setdefault(record.block, {}).setdefault(record.symbol, []).append(record)
    count = 0
    for symbols in blocks.values():
        for symbol in chance.sample(sorted(symbols), min(len(symbols), repairs + beyond)):
            for record in symbols[symbol]:
                destroy(record)
            count += 1
    return count
