"""Keys, signatures and attestations by the real cosign, offline; and its verdict."""

from dataclasses import dataclass
from pathlib import Path

from programs import run

_OFFLINE = ("--yes", "--tlog-upload=false", "--use-signing-config=false", "--allow-insecure-registry")
_JUDGE = ("--insecure-ignore-tlog=true", "--allow-insecure-registry")
SPDX = b'{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"app"}'


@dataclass(frozen=True)
class Cosign:
    """A key pair in a folder; `public` is what an operator gets."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Cosign":
        folder.mkdir(parents=True, exist_ok=True)
        run("cosign", "generate-key-pair", cwd=folder, COSIGN_PASSWORD="")
        return cls(folder)

    @property
    def public(self) -> Path:
        return self.folder / "cosign.pub"

    def sign(self, image: str, *, bundle: bool = False) -> None:
        """As a tag ``.sig``, or as a referrer (bundle v0.3)."""
        form = f"--new-bundle-format={str(bundle).lower()}"
        run("cosign", "sign", *_OFFLINE, form, "--key", self._private, image, COSIGN_PASSWORD="")

    def attest(self, image: str, *, bundle: bool = False, predicate: bytes = SPDX, kind: str = "spdxjson") -> None:
        form = f"--new-bundle-format={str(bundle).lower()}"
        path = self.folder / "predicate.json"
        path.write_bytes(predicate)
        more = ("--type", kind, "--predicate", path)
        run("cosign", "attest", *_OFFLINE, form, "--key", self._private, *more, image, COSIGN_PASSWORD="")

    def accepts(self, image: str) -> None:
        run("cosign", "verify", *_JUDGE, "--key", self.public, image)

    def accepts_attestation(self, image: str, kind: str = "spdxjson") -> None:
        run("cosign", "verify-attestation", *_JUDGE, "--type", kind, "--key", self.public, image)

    @property
    def _private(self) -> Path:
        return self.folder / "cosign.key"
