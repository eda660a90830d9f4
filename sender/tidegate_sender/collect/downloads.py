"""Bring a file that has an address: downloaded beside, then an artifact of files like any other."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidegate.errors import CollectError
from tidegate.files import host_error
from tidegate.registry.reference import files_name
from tidegate.units import GIB
from tidegate_sender.collect.download import download_to
from tidegate_sender.collect.files import collect_files
from tidegate_sender.collect.kinds import Brought, Sink, SourceItem, Surroundings

DOWNLOAD_MAX_BYTES = 64 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadItem(SourceItem):
    """The file at `url`, called `title` on the high side (by default as in the address)."""

    url: str
    title: str = ""

    lock_kind = "download"

    @property
    def label(self) -> str:
        return self.url.partition("?")[0]

    @property
    def lock_source(self) -> str:
        return f"{self.label} as {self.file_title}"

    @property
    def file_title(self) -> str:
        return self.title or unquote(urlsplit(self.url).path.rpartition("/")[2])

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        title = self.file_title
        name = files_name(title)
        folder = os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else None)  # noqa: S108
        try:
            with tempfile.TemporaryDirectory(prefix="tidegate-download-", dir=folder) as place:
                path = Path(place) / "file"
                modified = download_to(self.url, path, around, max_bytes=DOWNLOAD_MAX_BYTES, what=title)
                path.chmod(0o644)
                os.utime(path, (modified, modified))  # the server's time: the same file has the same bytes again
                result = collect_files(path, title, sink)
        except OSError as error:
            raise host_error(error, f"downloading {title}") from None
        if not result.content_bytes:
            raise CollectError(f"{self.label}: the file is empty")
        return (Brought(name, "files", result.descriptor, result.size_bytes),)
