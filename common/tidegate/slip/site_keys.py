"""Low side: the sites whose slips are believed, ``trust/sites/<site>.vkey``, one verifier key in each."""

from pathlib import Path

from tidegate.errors import FormatError, SlipSiteError, TrustError
from tidegate.files import make_folders, read_limited, write_durably
from tidegate.ledger.checkpoint import NoteKey, parse_vkey
from tidegate.slip.site_key import ORIGIN_ENDING, site_of
from tidegate.state.db import Transaction
from tidegate.state.meta import delete_meta

FOLDER = "sites"
#: in the state's meta, before the site's name: the newest head of its ledger that a slip showed
WITNESSED_KEY = "slip.witnessed."
#: likewise: the newest one that this side co-signed
COSIGNED_KEY = "slip.cosigned."
_ENDING = ".vkey"
_MAX_BYTES = 1024


def forget_witnessed(tx: Transaction, site: str) -> None:
    """Forget the heads of a site's ledger: whoever pins its key again has spoken with the site."""
    delete_meta(tx, WITNESSED_KEY + site)
    delete_meta(tx, COSIGNED_KEY + site)


class SiteKeys:
    """The keys under one ``trust`` folder."""

    def __init__(self, trust: Path) -> None:
        self.folder = trust / FOLDER

    def list(self) -> tuple[NoteKey, ...]:
        """All of them, by site."""
        if not self.folder.is_dir():
            return ()
        return tuple(self._read(path) for path in sorted(self.folder.glob(f"*{_ENDING}")))

    def find(self, site: str) -> NoteKey | None:
        path = self._path(site)
        return self._read(path) if path.is_file() else None

    def get(self, site: str) -> NoteKey:
        """Raises SlipSiteError where no key of the site is pinned."""
        key = self.find(site)
        if key is None:
            raise SlipSiteError(
                f"the ledger key of site {site} is not known here",
                hint='"tidegate keys export" on the site prints it; "tidegate trust add LINE --fingerprint …" here',
            )
        return key

    def check_pin(self, key: NoteKey) -> bool:
        """Whether the key is pinned already. Raises TrustError where another one of the site is."""
        known = self.find(site_of(key))
        if known is not None and known != key:
            raise TrustError(
                f"site {site_of(key)}: another key is pinned, {known.id.hex()}",
                hint=f'if its ledger was made anew: "tidegate trust remove {site_of(key)}", then add this one',
            )
        return known is not None

    def pin(self, key: NoteKey) -> None:
        """Pin the key. Raises TrustError where another one of the site is pinned."""
        self.check_pin(key)
        if not self.folder.is_dir():
            make_folders(self.folder)
        write_durably(self._path(site_of(key)), f"{key}\n".encode())

    def remove(self, site: str) -> None:
        self._path(site).unlink(missing_ok=True)

    def _path(self, site: str) -> Path:
        return self.folder / f"{site}{_ENDING}"

    def _read(self, path: Path) -> NoteKey:
        data = read_limited(path, _MAX_BYTES)
        try:
            key = parse_vkey(data.decode("utf-8"))
        except (FormatError, UnicodeDecodeError):
            raise TrustError(f"{path}: is no verifier key") from None
        if key.name != path.name.removesuffix(_ENDING) + ORIGIN_ENDING:
            raise TrustError(f"{path}: is the key of {key.name}")
        return key
