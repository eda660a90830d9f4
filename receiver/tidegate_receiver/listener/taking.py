"""The thread behind a session: keep what comes before the papers do, then give all to the intake of media.

Each thread has a workspace of its own, as another command on this root would: state and ledger know how to take turns.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from tidegate.carrier.announcement import CHUNKS
from tidegate.erasure.codec import GroupCodec
from tidegate.errors import TidegateError, VolumeMissingError
from tidegate.files import sync_filesystem
from tidegate.report import ProgressCallback
from tidegate.workspace import Workspace
from tidegate_receiver.intake.bundle_intake import ReceiveOptions, take_bundle
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.intake.room import check_room, has_room
from tidegate_receiver.intake.unverified import Standing, check_space, keep_announcement
from tidegate_receiver.listener.source import WireSource
from tidegate_receiver.reassembly.spool import Spool, disk
from tidegate_receiver.reassembly.symbol_store import SymbolStore, kept_bytes

THREADS = 4
#: told about each bundle, in the thread that took it
AfterCallback = Callable[[Workspace, ReceiveOutcome], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """How a session ended. `error` is what concerns the whole host, and ends the listener."""

    tag: int
    outcome: ReceiveOutcome | None
    error: BaseException | None = None


class Drains:
    """Brings entries into the ledger for several threads: what is asked for while one is at it is done by that one.

    Many small bundles then share a checkpoint and its syncs. Until then the entries wait in the state, on the disk.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._is_wanted = self._is_busy = False

    def request(self, workspace: Workspace) -> None:
        """Drain, or leave it to the thread that is at it. Raises what `Recorder.drain` raises."""
        with self._turn:
            self._is_wanted = True
            if self._is_busy:
                return
            self._is_busy = True
        try:
            while self._take_wish():
                workspace.recorder.drain()
        except BaseException:
            with self._turn:
                self._is_busy = False
            raise

    def _take_wish(self) -> bool:
        """Whether somebody asked since the last time; where nobody did, the next one does it himself."""
        with self._turn:
            self._is_busy, self._is_wanted = self._is_wanted, False
            return self._is_busy


class Takers:
    """The threads, and who waits for one."""

    def __init__(
        self,
        workspace: Workspace,
        after: AfterCallback,
        done: Callable[[Taken], None],
        progress: ProgressCallback | None,
    ) -> None:
        self.workspace = workspace
        self.after = after
        self.done = done
        self.progress = progress
        self._local = threading.local()
        self._drains = Drains()
        self._threads = ThreadPoolExecutor(THREADS, "session")

    def submit(self, source: WireSource) -> Future[None]:
        return self._threads.submit(self._run, source)

    def close(self) -> None:
        """Wait for all of them; their sources have ended."""
        self._threads.shutdown()

    def _run(self, source: WireSource) -> None:
        assert source.session is not None
        tag, outcome, failure = source.session.tag, None, None
        try:
            workspace = self._own_workspace()
            outcome = _take(workspace, source, self.progress)
            self._drains.request(workspace)
            self.after(workspace, outcome)
        except BaseException as error:  # noqa: BLE001  told to the worker, which ends by it
            failure = error
        finally:
            source.close()
            self.done(Taken(tag, outcome, failure))

    def _own_workspace(self) -> Workspace:
        workspace: Workspace | None = getattr(self._local, "workspace", None)
        if workspace is None:
            workspace = self._local.workspace = replace(self.workspace)
        return workspace


def has_head(workspace: Workspace, bundle_id: str) -> bool:
    """Whether the head lies in the spool, so that an intake can begin without the session's papers."""
    return Spool(workspace.folder("spool") / bundle_id).open_head() is not None


def _take(workspace: Workspace, source: WireSource, progress: ProgressCallback | None) -> ReceiveOutcome:
    session = source.session
    assert session is not None
    if not session.has_papers and not has_head(workspace, source.announcement.bundle_id):
        try:
            _keep_until_papers(workspace, source)
        except TidegateError as failure:
            return _unfinished(source, OutcomeKind.FAILED, failure)
        if not session.has_papers:
            name = source.announcement.name
            missing = VolumeMissingError(
                f"bundle {name}: its table of contents did not come; what came of the rest is kept",
                hint="have the low side send it again",
            )
            return _unfinished(source, OutcomeKind.INCOMPLETE, missing)
    copies = (Copy(session.verified, source),)
    return take_bundle(workspace, copies, None, ReceiveOptions(progress=progress, drains=False))


def _unfinished(source: WireSource, kind: OutcomeKind, error: TidegateError) -> ReceiveOutcome:
    session = source.session
    assert session is not None
    announcement = source.announcement
    return ReceiveOutcome(
        kind=kind,
        name=announcement.name,
        bundle_id=announcement.bundle_id,
        channel_name=session.verified.chain.newest.name,
        sequence=announcement.sequence,
        error=error,
        content_size=announcement.parts[CHUNKS].length,
    )


def _keep_until_papers(workspace: Workspace, source: WireSource) -> None:
    """The receiver was started late: keep groups of the chunks, mended, until cover and head come at the end.

    Only a carrier key vouches for the bundle now. So what is kept counts against disk and quota by the announced sizes.
    """
    assert source.session is not None, "the worker ties the two together"
    announcement = source.announcement
    spool = Spool(workspace.folder("spool") / announcement.bundle_id)
    total = sum(part.length for part in announcement.parts)
    what = f"bundle {announcement.name}"
    check_room(spool.folder.parent, total, what)
    check_space(workspace, announcement.bundle_id, total, what, Standing.ANNOUNCED)
    spool.create()

    def may_keep(needed_bytes: int) -> bool:
        limit = total + total // 2  # sources once, and repairs of what could not be mended
        return has_room(spool.folder, needed_bytes) and kept_bytes(spool.folder) + needed_bytes <= limit

    geometry = announcement.geometry(CHUNKS)
    codec = GroupCodec(geometry)
    with spool.locked():
        spool.create()  # again: it may have given way just now
        keep_announcement(spool, source.session.verified)
        store = SymbolStore(spool.folder, geometry, may_keep)
        for buffer in source.arrivals_without_papers():
            report = codec.mend(buffer)
            wanted = buffer.exists.copy()
            if report.is_whole:
                for position, count in enumerate(buffer.source_counts):
                    wanted[position, count:] = False
            store.keep(buffer.group, buffer, wanted)
        with disk("keeping what came before the table of contents"):
            sync_filesystem(spool.blobs_folder)
        store.save()
