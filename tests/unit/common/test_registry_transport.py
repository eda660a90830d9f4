"""What a connection's errors say: never a password of a proxy, never the signature of an address."""

import pytest

from tidegate.errors import RegistryError, UsageError
from tidegate.registry.transport import Transport


@pytest.mark.parametrize("proxy", ["http://user:geheim@:bad:99", "ftp://user:geheim@h:1", "http://user:geheim@h:99999"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError) as caught:
        Transport("registry.example")
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_a_redirect_to_plain_http_is_refused_without_the_signature_of_its_address() -> None:
    with pytest.raises(RegistryError, match=r"store\.example/blob") as caught:
        Transport("registry.example")._next_url(
            "https://registry.example/v2/a/blobs/b", "http://store.example/blob?X-Amz-Signature=geheim", "a blob"
        )
    assert "geheim" not in str(caught.value)
