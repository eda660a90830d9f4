"""Send one blob to a registry: in one request, or, when it is large, in pieces that can be taken up again.

POST opens an upload and names its address; PUT with the digest closes it. Pieces go by PATCH; after a failure the
registry is asked how far it came. An upload that is lost is begun again.
"""

import re
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import quote, urljoin

import urllib3

from tidegate.errors import RegistryError, RegistryLiesError
from tidegate.registry.transport import PassingError, Transport, final
from tidegate.units import MIB

#: a blob up to this size goes in one request; a larger one in pieces of it
PIECE_MAX_BYTES = 64 * MIB
_OCTETS = {"Content-Type": "application/octet-stream"}
#: opens the blob for reading, from its beginning; the file must be seekable
BlobSource = Callable[[], BinaryIO]


class Upload:
    """One blob on its way into `repository`. `progress` gets the number of bytes that arrived since its last call."""

    def __init__(
        self,
        transport: Transport,
        repository: str,
        digest: str,
        size: int,
        source: BlobSource,
        progress: Callable[[int], object] | None = None,
        *,
        piece_bytes: int = PIECE_MAX_BYTES,
    ) -> None:
        self._transport, self._repository, self._digest, self._size = transport, repository, digest, size
        self._source, self._progress, self._piece_bytes = source, progress, piece_bytes
        self._what = f"{repository}@{digest}"
        self._reported = 0

    def run(self) -> None:
        """Send it. Raises RegistryError, RegistryAuthError, RegistryLiesError; whatever `source` raises passes."""
        failures = 0
        while True:
            try:
                with self._source() as file:
                    location = self._open()
                    sent = 0
                    if self._size > self._piece_bytes:
                        location, sent = self._send_pieces(file, location)
                    self._close(file, location, sent)
            except PassingError as error:
                failures += 1
                if not self._transport.may_retry(error, failures):
                    raise final(error) from None
                self._transport.pause(error, failures)
            else:
                return self._report(self._size)

    def _open(self) -> str:
        path = f"/v2/{self._repository}/blobs/uploads/"
        response = self._transport.send_once(
            "POST", path, what=self._what, expect=frozenset({202}), body=b"", finish=True
        )
        return self._location(response)

    def _send_pieces(self, file: BinaryIO, location: str) -> tuple[str, int]:
        """Everything but the last piece; gives the upload's address and how much is there."""
        sent, failures = 0, 0
        while self._size - sent > self._piece_bytes:
            try:
                location = self._send_piece(file, location, sent)
                sent, failures = sent + self._piece_bytes, 0
                self._report(sent)
            except PassingError as error:
                failures += 1
                if not self._transport.may_retry(error, failures):
                    raise
                self._transport.pause(error, failures)
                location, sent = self._ask(location)
        return location, sent

    def _send_piece(self, file: BinaryIO, location: str, start: int) -> str:
        end = start + self._piece_bytes
        headers = {**_OCTETS, "Content-Range": f"{start}-{end - 1}", "Content-Length": str(self._piece_bytes)}
        body = _Range(file, start, self._piece_bytes)
        response = self._transport.send_once(
            "PATCH", location, what=self._what, expect=frozenset({202}), headers=headers, body=body, finish=True
        )
        return self._location(response)

    def _ask(self, location: str) -> tuple[str, int]:
        """Where the upload goes on, by the registry's word. Raises PassingError where it is gone: `run` begins anew."""
        try:
            response = self._transport.send("GET", location, what=self._what, expect=frozenset({200, 204}), finish=True)
        except RegistryError as error:
            raise PassingError(f"{error.message}: the upload was lost") from None
        got = re.fullmatch(r"(?:bytes=)?0-(\d{1,15})", response.headers.get("Range", ""))
        sent = int(got[1]) + 1 if got and int(got[1]) else 0  # "0-0" is an upload without a byte, or with one
        if sent > self._size:
            raise RegistryLiesError(f"{self._transport.host}: {self._what}: says it holds {sent} of {self._size} bytes")
        return self._location(response), sent

    def _close(self, file: BinaryIO, location: str, sent: int) -> None:
        url = f"{location}{'&' if '?' in location else '?'}digest={quote(self._digest)}"
        rest = self._size - sent
        headers = {**_OCTETS, "Content-Length": str(rest)}
        body = _Range(file, sent, rest) if rest else b""
        response = self._transport.send_once(
            "PUT", url, what=self._what, expect=frozenset({201, 204}), headers=headers, body=body, finish=True
        )
        named = response.headers.get("Docker-Content-Digest", self._digest)
        if named != self._digest:
            raise RegistryLiesError(f"{self._transport.host}: sent {self._digest}, it stored {named}")

    def _location(self, response: urllib3.BaseHTTPResponse) -> str:
        location = response.headers.get("Location", "")
        if not location:
            raise RegistryError(f"{self._transport.host}: {self._what}: an upload without an address (Location)")
        return urljoin(self._transport.base, location)

    def _report(self, arrived: int) -> None:
        if self._progress is not None and arrived > self._reported:
            self._progress(arrived - self._reported)
            self._reported = arrived


class _Range:
    """`length` bytes of a file from `start` on, as a request's body; rewinds when a redirect sends it again."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length = file, start, length
        self.seek(0)

    def read(self, count: int = -1) -> bytes:
        rest = self._length - self._position
        data = self._file.read(rest if count < 0 else min(count, rest))
        self._position += len(data)
        return data

    def seek(self, position: int) -> int:
        self._position = position
        self._file.seek(self._start + position)
        return position

    def tell(self) -> int:
        return self._position
