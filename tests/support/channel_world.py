"""A whole channel in one process: both real roots, sticks that are folders, and a clock that a test sets.

Everything is done by the entry points that the commands call, each on a workspace that was just opened, as if it were
the next command on that host. Nothing here judges: what must be true is said by `channel_model`.
"""

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from made_roots import files_artifact
from receiver_world import SITE, LowSide, Record, announced, destroy, records

from tidegate import clock, files
from tidegate.carrier.announcement import CHUNKS
from tidegate.config import Role
from tidegate.depot.graph import walk
from tidegate.initialisation import initialise
from tidegate.ledger.entries import Medium
from tidegate.ledger.log import Log
from tidegate.ledger.verify import verify_ledger
from tidegate.lookup import resolve_bundle
from tidegate.slip.site_keys import SiteKeys
from tidegate.state.bundles import BundleRow, list_bundles
from tidegate.workspace import Workspace

CHANNEL = "plant"
FIRST_DAY = 1_772_000_000  # 2026-02-25, after the date of the software
DAY = 86_400
FACTS = Medium(path="stick")


def noise(seed: object, size: int = 20_000) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(str(seed)).randbytes(size)


@dataclass
class Clock:
    """What the hosts' clocks say, each its own. In place of the module ``time`` in `tidegate.clock`."""

    low: int = FIRST_DAY
    high: int = FIRST_DAY
    side: str = "low"

    def time(self) -> float:
        return float(getattr(self, self.side))


@dataclass(frozen=True)
class Packed:
    """A bundle as somebody outside sees it: what stands in its manifest, and what it brings."""

    bundle_id: str
    number: int
    epoch: int
    created: int
    expires: int | None
    #: artifact name to digest of its manifest
    names: dict[str, str]
    brought: frozenset[str]
    required: dict[str, int]  # digest to the number of the bundle that carried it
    void: dict[int, tuple[str, str | None]]
    #: artifact name to all digests that it consists of
    graphs: dict[str, frozenset[str]]
    #: whether the channel's own keys signed it
    is_signed: bool = True


class Killed(BaseException):
    """The process was killed: nothing of it ran any more."""


@dataclass
class World:
    """Both roots and all sticks under `folder`."""

    folder: Path
    clock: Clock
    sticks: dict[str, Path] = field(default_factory=dict)
    made: int = 0

    @classmethod
    def make(cls, folder: Path, time: Clock) -> "World":
        """As on the first day: two roots, each of which knows the other's keys."""
        time.side = "low"
        initialise(folder / "low", Role.LOW, channel=CHANNEL, sites=(SITE,), holder="ada", passphrase=None)
        world = cls(folder, time)
        time.side = "high"
        initialise(folder / "high", Role.HIGH, sites=(SITE,), holder="ben", passphrase=None)
        with world.low() as low, world.high() as high:
            high.trust.pin(low.trust.own_channel(), high.signer("root"))
            SiteKeys(low.folder("trust")).pin(high.recorder.key)
        return world

    def copy(self, folder: Path, time: Clock) -> "World":
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return World(folder, time)

    @contextmanager
    def low(self) -> Iterator[Workspace]:
        with self._side("low", Role.LOW) as workspace:
            yield workspace

    @contextmanager
    def high(self) -> Iterator[Workspace]:
        with self._side("high", Role.HIGH) as workspace:
            yield workspace

    @contextmanager
    def _side(self, name: str, role: Role) -> Iterator[Workspace]:
        before, self.clock.side = self.clock.side, name
        workspace = Workspace.open(self.folder / name, role=role)
        try:
            yield workspace
        finally:
            if "state" in vars(workspace):
                workspace.state.close()
            self.clock.side = before

    # --- the low side ----------------------------------------------------------------------------

    def pack(self, contents: dict[str, bytes], *, days: int = 0, full: bool = False) -> Packed:
        """Pack an artifact ``files/NAME`` for each of `contents`."""
        from tidegate_sender.packing.pack import PackOptions, pack

        with self.low() as low:
            wanted = [files_artifact(low, name, data) for name, data in sorted(contents.items())]
            options = PackOptions(expire_days=days, anyway=True, full=full, again_max_bytes=0)
            report = pack(low, wanted, options)
            graphs = {i.name: frozenset(b.digest for b in walk(low.depot, i.descriptor)) for i in wanted}
            return replace(self.packed(low, report.bundle_id), graphs=graphs)

    def packed(self, low: Workspace, bundle_id: str) -> Packed:
        from tidegate.bundle.container import BundleFile

        found = resolve_bundle(low, bundle_id)
        with BundleFile.open(found.file()) as bundle:
            return describe(bundle.manifest(), bundle_id, bundle.tables())

    def send(self, bundle: Packed, stick: Path) -> None:
        """One whole copy to one stick."""
        from tidegate_sender.delivery import SendOptions, deliver

        with self.low() as low:
            low.begin()
            found = resolve_bundle(low, bundle.bundle_id)
            options = SendOptions(0.1, sync=False, read_back=False)
            deliver(low, found, stick, FACTS, options, lambda *_: None)

    def send_striped(self, bundle: Packed, sticks: list[Path]) -> None:
        """A set of which any one stick may be lost."""
        from tidegate_sender.delivery import SendOptions
        from tidegate_sender.sets.delivery import SetDelivery, SetOptions

        with self.low() as low:
            low.begin()
            found = resolve_bundle(low, bundle.bundle_id)
            choice = SetOptions(spare=1, volumes=len(sticks), accept_overhead=True)
            options = SendOptions(0.1, sync=False, read_back=False)
            with SetDelivery(low, found, options, choice) as delivery:
                for stick in sticks:
                    delivery.write(stick, FACTS, lambda *_: None)

    def take_out(self, bundle_id: str, *, withdraws: bool) -> None:
        """Discard a bundle, or withdraw it."""
        from tidegate_sender.discarding import discard, withdraw

        with self.low() as low:
            if withdraws:
                withdraw(low, bundle_id, "it is bad")
            else:
                discard(low, bundle_id)

    def resend(self, numbers: list[int], stick: Path) -> tuple[list[int], list[int]]:
        """Send numbers again; those that went, and those that cannot."""
        from tidegate_sender.delivery import SendOptions
        from tidegate_sender.resend_plan import Wish
        from tidegate_sender.resending import plan_resend, plan_volume, resend

        with self.low() as low:
            low.begin()
            plan = plan_resend(low, [Wish(number) for number in numbers])
            for item in plan.items:
                volume = plan_volume(low, item, 0.1)
                resend(low, volume, stick, FACTS, SendOptions(0.1, sync=False, read_back=False), lambda *_: None)
            return [item.row.sequence for item in plan.items], [item.number for item in plan.impossible]

    def low_rows(self) -> tuple[BundleRow, ...]:
        with self.low() as low, low.state.reading() as tx:
            return list_bundles(tx)

    def rotate(self, role: str, *, keep_old: bool) -> None:
        """A new key in `role` of the low side, as ``keys rotate`` makes it."""
        from tidegate.root_change import change_root, make_next_key, own_chain, root_signers
        from tidegate.trust.keys import read_key_info
        from tidegate.trust.payload import Key
        from tidegate.trust.rotation import changes_to_add, changes_to_replace

        with self.low() as low:
            chain = own_chain(low)
            signers = root_signers(low, chain, ())
            old = read_key_info(low.root / "keys" / f"{role}.key")
            made = make_next_key(low, role, old.holder)
            if keep_old:
                key = Key("ed25519", made.public.hex(), made.holder)
                changes = changes_to_add(chain.newest, role, key, made.key_id)
            else:
                changes = changes_to_replace(chain.newest, old.key_id, made, revoke=False, reason=None)
            change_root(low, chain, changes, signers, what=f"role {role} rotated")

    def new_epoch(self) -> None:
        """The channel counts anew, as ``keys epoch`` has it."""
        from tidegate.root_change import change_root, own_chain, root_signers

        with self.low() as low:
            chain = own_chain(low)
            change_root(low, chain, {"epoch": chain.newest.epoch + 1}, root_signers(low, chain, ()), what="a new epoch")

    def forger(self) -> LowSide:
        """Somebody who holds all keys of the low side, and writes what its commands never would."""
        with self.low() as low:
            keys = {role: low.signer(role) for role in ("root", "release", "carrier", "ledger")}
            made = LowSide(CHANNEL, keys)  # type: ignore[arg-type]
            made.chain = low.trust.own_channel()
        return made

    # --- the high side ---------------------------------------------------------------------------

    def receive(self, sticks: list[Path]) -> Any:
        from tidegate_receiver.intake.intake import receive_media

        with self.high() as high:
            return receive_media(high, tuple(sticks))

    def load(self, bundle_id: str) -> Any:
        from tidegate_receiver.promotion.promotion import load

        with self.high() as high:
            return load(high, bundle_id)

    def admit(self, bundle_id: str) -> Any:
        from tidegate_receiver.intake.admission import admit

        with self.high() as high:
            return admit(high, bundle_id, high.signer("approver"), "asked", trust_time=False)

    def deny(self, bundle_id: str) -> Any:
        from tidegate_receiver.intake.admission import deny

        with self.high() as high:
            return deny(high, bundle_id, high.signer("approver"), "asked")

    def accept(self, bundle_id: str) -> None:
        """Load all the same what waits because the low side's ledger contradicts what was seen."""
        from tidegate.ledger.low_side import accept_fork
        from tidegate.state.bundles import get_bundle

        with self.high() as high:
            with high.state.reading() as tx:
                row = get_bundle(tx, bundle_id)
            assert row is not None
            with high.recording():
                accept_fork(high, row, "they put a backup back")

    def high_rows(self) -> tuple[BundleRow, ...]:
        with self.high() as high, high.state.reading() as tx:
            return list_bundles(tx)

    def stage(self) -> dict[str, str]:
        path = self.folder / "high" / "stages" / "default" / "index.json"
        if not path.is_file():
            return {}
        index = json.loads(path.read_bytes())
        name = "org.opencontainers.image.ref.name"
        return {item["annotations"][name]: item["digest"] for item in index["manifests"]}

    # --- both ------------------------------------------------------------------------------------

    def slip(self, *, with_proof: bool = False) -> Any:
        """Print a slip; `with_proof` that the ledger goes on from the head that was co-signed last, if one was."""
        from tidegate_receiver.slip import choose_channel, cosigned_size, make_slip

        with self.high() as high:
            channel = choose_channel(high, None)
            first = cosigned_size(high, channel.channel_id) if with_proof else None
            return make_slip(high, channel, proof_from=first)

    def read_slip(self, text: str) -> Any:
        from tidegate_sender.slips.reading import read_slip

        with self.low() as low:
            return read_slip(low, text)

    def trust_site_anew(self) -> None:
        """What a person does after a site was put back: remove its key, compare the words, add it."""
        from tidegate.slip.site_keys import forget_witnessed

        with self.low() as low, self.high() as high:
            sites = SiteKeys(low.folder("trust"))
            sites.remove(SITE)
            with low.state.transaction() as tx:
                forget_witnessed(tx, SITE)
            sites.pin(high.recorder.key)

    def cleanup(self, side: str) -> Any:
        from tidegate.commands.cleanup import find_cleaner
        from tidegate.retention import Limits

        with getattr(self, side)() as workspace, workspace.recording():
            limits = Limits(0, max(clock.now(), int(self.folder.stat().st_mtime)) + 400 * DAY)
            return find_cleaner(workspace.settings.role)(workspace, limits, True)

    def restore(self, side: str, last: int | None = None) -> Any:
        from tidegate.restoring import restore

        with getattr(self, side)() as workspace:
            chain = workspace.trust.chains()[0] if side == "high" else workspace.trust.own_channel()
            known = (chain.channel_id, chain.newest.epoch, last) if last is not None else None
            return restore(workspace, "a backup was put back", last=known)

    def drain(self, side: str) -> None:
        with getattr(self, side)() as workspace:
            workspace.recorder.drain()

    def put_state_back(self, side: str, backup: Path | None) -> None:
        root = self.folder / side
        for path in root.glob("state.db*"):
            path.unlink()
        for path in backup.glob("state.db*") if backup else ():
            shutil.copy2(path, root / path.name)

    def put_root_back(self, side: str, backup: Path) -> None:
        shutil.rmtree(self.folder / side)
        shutil.copytree(backup, self.folder / side, symlinks=True)

    def entries(self, side: str, start: int = 0) -> list[dict[str, Any]]:
        """The ledger's entries from number `start` on."""
        with getattr(self, side)() as workspace:
            log = Log(workspace.root / "ledger", workspace.recorder.key)
            checkpoint = log.checkpoint()
            size = checkpoint.size if checkpoint else 0
            return [json.loads(data) for _, data in log.raw_entries(size, start=min(start, size))]

    def verify(self, side: str) -> None:
        with getattr(self, side)() as workspace:
            verify_ledger(workspace.root / "ledger", workspace.recorder.key)

    # --- sticks ----------------------------------------------------------------------------------

    def stick(self) -> Path:
        self.made += 1
        path = self.folder / f"stick-{self.made}"
        path.mkdir()
        return path

    def copy_stick(self, stick: Path) -> Path:
        self.made += 1
        path = self.folder / f"stick-{self.made}"
        shutil.copytree(stick, path)
        return path


def describe(manifest: Any, bundle_id: str, tables: Any, *, is_signed: bool = True) -> Packed:
    """The facts of a manifest and its tables."""
    return Packed(
        bundle_id=bundle_id,
        number=manifest.sequence,
        epoch=manifest.epoch,
        created=clock.parse_time(manifest.created),
        expires=clock.parse_time(manifest.expires) if manifest.expires else None,
        names={item.name: item.digest for item in manifest.artifacts},
        brought=frozenset(f"sha256:{record['sha256'].tobytes().hex()}" for record in tables.blobs),
        required={f"sha256:{r['sha256'].tobytes().hex()}": int(r["sequence"]) for r in tables.required},
        void={item.sequence: (item.bundle_id, item.reason) for item in manifest.void or ()},
        graphs={},
        is_signed=is_signed,
    )


def damage(stick: Path, *, beyond: bool, seed: int) -> None:
    """Destroy as many symbols of the content as the code bears in each block; `beyond`: one more."""
    chance = random.Random(seed)
    repairs = announced(stick).geometry(CHUNKS).repair_count
    blocks: dict[int, dict[int, list[Record]]] = {}
    for record in records(stick):
        if record.part == CHUNKS:
            blocks.setdefault(record.block, {}).setdefault(record.symbol, []).append(record)
    for symbols in blocks.values():
        for symbol in chance.sample(sorted(symbols), min(len(symbols), repairs + beyond)):
            for record in symbols[symbol]:
                destroy(record)


# --- kills ----------------------------------------------------------------------------------------


class _KillingCounter(files._SyncCounter):
    """Counts syncs and commits, and ends the process at one of them."""

    left = 0

    @property  # type: ignore[override]
    def count(self) -> int:
        return 0

    @count.setter
    def count(self, _value: int) -> None:
        type(self).left -= 1
        if type(self).left <= 0:
            os._exit(0)


def killed_at(step: int, doing: Callable[[], object]) -> None:
    """Do it in a process of its own that is killed at its `step`-th sync or commit, as a power cut would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            vars(files.SYNCS).pop("count", None)
            _KillingCounter.left = step
            files.SYNCS.__class__ = _KillingCounter
            doing()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
