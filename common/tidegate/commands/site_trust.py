"""Which sites' slips the low side believes: what ``tidegate trust`` does there, and the site's own ``keys export``."""

from pathlib import Path

from tidegate.commands.options import Invocation
from tidegate.errors import FingerprintError, HostError, TidegateError, UsageError
from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.slip.site_key import INPUT_MAX_CHARACTERS, build_site_key, fingerprint_id, parse_site_key, site_of
from tidegate.slip.site_keys import SiteKeys, forget_witnessed
from tidegate.workspace import Workspace


def export_site_key(invocation: Invocation, workspace: Workspace, file: Path | None) -> None:
    """Print the line of this site's key and its words; also into `file`."""
    from tidegate.trust.words import fingerprint_words

    key = workspace.recorder.key
    line, words = build_site_key(key), fingerprint_words(fingerprint_id(key))
    if file is not None and _is_new(file, f"{line}\n") and not invocation.dry_run:
        _write_site_key(workspace, file, key)
    invocation.report.line(line)
    invocation.report.line(f"fingerprint: {words}")
    invocation.report.closing(
        'for the low side: "tidegate trust add" with this line, and read the words to them by voice',
        site=site_of(key),
        line=line,
        vkey=str(key),
        fingerprint=words,
        file=str(file) if file else None,
    )


def _is_new(file: Path, text: str) -> bool:
    """Whether the line is still to be written. What lies there and is none is not overwritten."""
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.absolute().parent}")
    if not file.exists():
        return True
    try:
        found = file.read_bytes()[: 4 * INPUT_MAX_CHARACTERS].decode()
        parse_site_key(found)
    except (TidegateError, UnicodeDecodeError):
        raise UsageError(f"{file}: is there, and is no site's line", hint="name a new file, or remove it") from None
    return found != text


def _write_site_key(workspace: Workspace, file: Path, key: NoteKey) -> None:
    from tidegate.files import write_durably
    from tidegate.ledger.entries import Event, entry

    with workspace.recording():
        try:
            write_durably(file.absolute(), f"{build_site_key(key)}\n".encode())
        except OSError as error:  # names the temporary file beside it
            raise HostError(f"{file}: {error.strerror}") from None
        with workspace.state.transaction() as tx:
            tx.queue(entry(Event.EXPORT, subject=site_of(key), step="site-key", key_id=key.id.hex()))


def add_site(invocation: Invocation, workspace: Workspace, what: Path, fingerprint: str | None) -> None:
    """Pin the key of the line `what`, or of the file that holds it."""
    from tidegate.trust.words import check_fingerprint

    key = parse_site_key(_text(what))
    site = site_of(key)
    if fingerprint is None:
        raise FingerprintError(f"site {site}: its key is pinned only with its twelve words")
    check_fingerprint(fingerprint_id(key), fingerprint)
    sites = workspace.trust.own_channel().newest.sites or ()
    if site not in sites:
        invocation.report.warn(f"this channel is for {', '.join(sites)}, and not for {site}")
    keys = SiteKeys(workspace.folder("trust"))
    if keys.check_pin(key):
        invocation.report.closing(f"nothing to do: the key of {site} is pinned already", site=site, new=False)
        return
    if not invocation.dry_run:
        _record(workspace, Outcome.BEGUN, key, "is to be pinned")
        keys.pin(key)
        _record(workspace, Outcome.DONE, key, "is pinned")
    done = "would be pinned" if invocation.dry_run else "is pinned"
    invocation.report.closing(f"the key of {site} {done}; its slips can be read", site=site, vkey=str(key), new=True)


def list_sites(invocation: Invocation, workspace: Workspace) -> None:
    """The sites whose slips are believed, with their words."""
    from tidegate.trust.words import fingerprint_words

    rows = []
    for key in SiteKeys(workspace.folder("trust")).list():
        words = fingerprint_words(fingerprint_id(key))
        rows.append((site_of(key), key.id.hex(), words))
        invocation.report.object({"site": site_of(key), "vkey": str(key), "fingerprint": words})
    if rows:
        invocation.report.table(("site", "ledger key", "fingerprint"), rows)
    else:
        invocation.report.line('no site\'s key is pinned; "tidegate keys export" on a site prints it')


def remove_site(invocation: Invocation, workspace: Workspace, site: str) -> None:
    """Believe no slip of `site` any more. What its slips confirmed stays; the head of its ledger is forgotten, so that
    a site that was put back from a backup can be believed again after its words were compared."""
    keys = SiteKeys(workspace.folder("trust"))
    found = [key for key in keys.list() if site_of(key) == site]
    if not found:
        invocation.report.closing(f"nothing to do: no key of site {site} is pinned here", removed=False)
        return
    if not invocation.dry_run:
        _record(workspace, Outcome.BEGUN, found[0], "is to be pinned no more")
        keys.remove(site)
        with workspace.state.transaction() as tx:
            forget_witnessed(tx, site)
        _record(workspace, Outcome.DONE, found[0], "is not pinned any more")
    done = "would not be believed" if invocation.dry_run else "are not believed"
    invocation.report.closing(f"slips of {site} {done} any more", site=site, removed=True)


def _record(workspace: Workspace, outcome: Outcome, key: NoteKey, what: str) -> None:
    """An entry before the change and one after it: the pin is a file, outside of the state's transaction."""
    site = site_of(key)
    detail = f"ledger key of {site} {what}"
    with workspace.recording(), workspace.state.transaction() as tx:
        tx.queue(
            entry(
                Event.TRUST_CHANGE,
                subject=site,
                step="site-key",
                outcome=outcome,
                key_id=key.id.hex(),
                detail=detail,
            )
        )


def _text(what: Path) -> str:
    """The line itself, or what the file of that name holds."""
    from tidegate.files import host_error

    try:
        if len(str(what)) > 255 or not what.is_file():  # 255: no file name on Linux is longer
            return str(what)
        with what.open("rb") as file:
            return file.read(INPUT_MAX_CHARACTERS + 1).decode("ascii", "replace")
    except OSError as error:
        raise host_error(error, f"reading {what}") from None
