"""Keys and private key files (docs/format/trust.md, T-2 to T-7)."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tidegate import canonical
from tidegate.errors import KeyFileError, SignatureError
from tidegate.trust import keys
from tidegate.trust.keys import (
    FileSigner,
    build_key_file,
    generate_key,
    key_id,
    load_signer,
    open_key_file,
    read_key_info,
    verify,
)


@pytest.fixture(autouse=True)
def cheap_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ARGON2_OPERATIONS", 1)
    monkeypatch.setattr(keys, "ARGON2_MEMORY_BYTES", 8192)


def changed(data: bytes, **fields: object) -> bytes:
    return canonical.dumps({**json.loads(data), **fields})


def with_lock(data: bytes, **fields: object) -> bytes:
    plain = json.loads(data)
    return canonical.dumps({**plain, "locked": {**plain["locked"], **fields}})


def test_key_id_is_the_sha256_of_the_public_key() -> None:
    assert key_id(b"\x01" * 32) == hashlib.sha256(b"\x01" * 32).hexdigest()


def test_sign_gives_the_signature_of_rfc_8032_test_1() -> None:
    signer = FileSigner(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), "ben")
    assert signer.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_verify_accepts_what_the_key_signed_and_nothing_else() -> None:
    signer = FileSigner(b"\x01" * 32, "ben")
    signature = signer.sign(b"message")
    verify(signer.public, b"message", signature)
    for public, message, value in (
        (signer.public, b"massage", signature),
        (signer.public, b"message", signature[:-1]),
        (signer.public, b"message", signature[:-1] + bytes([signature[-1] ^ 1])),
        (signer.public[:-1], b"message", signature),
        (FileSigner(b"\x02" * 32, "eve").public, b"message", signature),
    ):
        with pytest.raises(SignatureError):
            verify(public, message, value)


def test_t02_verify_refuses_a_public_key_of_small_order() -> None:
    # With A and R the neutral element and S = 0 the equation holds for every message.
    neutral = b"\x01" + b"\x00" * 31
    with pytest.raises(SignatureError):
        verify(neutral, b"anything", neutral + b"\x00" * 32)


def test_t02_verify_refuses_an_s_above_the_group_order() -> None:
    signer = FileSigner(b"\x01" * 32, "ben")
    signature = signer.sign(b"message")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureError):
        verify(signer.public, b"message", signature[:32] + s.to_bytes(32, "little"))


def test_the_private_key_is_not_shown_by_repr() -> None:
    signer = FileSigner(b"\x01" * 32, "ben")
    assert (b"\x01" * 32).hex() not in repr(signer)


def test_generate_key_writes_a_file_of_mode_0600_that_load_signer_opens(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "release.key"
    made = generate_key(path, "carla")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    loaded = load_signer(path)
    assert (loaded.key_id, loaded.public, loaded.holder) == (made.key_id, made.public, "carla")
    verify(made.public, b"x", loaded.sign(b"x"))


def test_generate_key_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    generate_key(path, "carla")
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        generate_key(path, "carla")
    assert path.read_bytes() == before


def test_generate_key_refuses_a_holder_that_is_no_name_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        generate_key(tmp_path / "a.key", "Carla Smith")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_t04_load_signer_refuses_a_file_that_others_may_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    generate_key(path, "carla")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}") as caught:
        load_signer(path)
    assert "chmod 600" in caught.value.hint


def test_load_signer_takes_a_read_only_file(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    generate_key(path, "carla")
    path.chmod(0o400)
    assert load_signer(path).holder == "carla"


def test_load_signer_says_when_the_file_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        load_signer(tmp_path / "none.key")
    with pytest.raises(KeyFileError):
        load_signer(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="no ordinary file"):
        load_signer(tmp_path / "fifo")


def test_a_key_with_a_passphrase_opens_with_it_only(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    made = generate_key(path, "carla", "correct horse")
    assert load_signer(path, "correct horse").key_id == made.key_id
    with pytest.raises(KeyFileError, match="passphrase is wrong"):
        load_signer(path, "wrong horse")
    with pytest.raises(KeyFileError, match="none was given"):
        load_signer(path)
    with pytest.raises(KeyFileError, match="1 to 1024"):
        load_signer(path, "")


def test_a_passphrase_is_the_same_in_either_unicode_form() -> None:
    made = FileSigner(b"\x01" * 32, "carla")
    assert open_key_file(build_key_file(made, "Gr\u00fc\u00dfe"), "Gru\u0308\u00dfe").key_id == made.key_id


def test_a_locked_file_does_not_hold_the_seed_in_the_open() -> None:
    data = build_key_file(FileSigner(b"\xab" * 32, "carla"), "correct horse")
    assert b"ab" * 32 not in data
    assert "seed" not in json.loads(data)


def test_read_key_info_needs_no_passphrase(tmp_path: Path) -> None:
    made = generate_key(tmp_path / "a.key", "carla", "correct horse")
    info = read_key_info(tmp_path / "a.key")
    assert (info.key_id, info.public, info.holder, info.is_locked) == (made.key_id, made.public, "carla", True)


def test_t05_a_file_with_both_or_neither_of_seed_and_locked_is_refused() -> None:
    open_file = build_key_file(FileSigner(b"\x01" * 32, "carla"))
    locked = build_key_file(FileSigner(b"\x01" * 32, "carla"), "x")
    plain = json.loads(open_file)
    del plain["seed"]
    for data in (canonical.dumps(plain), changed(locked, seed="01" * 32)):
        with pytest.raises(KeyFileError, match="exactly one"):
            open_key_file(data, "x")


@pytest.mark.parametrize(
    "fields",
    [
        {"operations": 17},
        {"operations": 0},
        {"memory_bytes": 268435456 + 1024},
        {"memory_bytes": 8191},
        {"memory_bytes": 8193},
        {"memory_bytes": 2**53 - 1},
        {"kdf": "scrypt"},
        {"salt": "00"},
        {"nonce": "00"},
        {"sealed": "00" * 47},
    ],
)
def test_t06_parameters_beyond_the_limits_are_refused_before_they_are_used(
    fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_lock(build_key_file(FileSigner(b"\x01" * 32, "carla"), "x"), **fields)
    monkeypatch.setattr(keys, "_box", lambda *_: pytest.fail("the key was derived"))
    with pytest.raises(KeyFileError):
        open_key_file(data, "x")


@pytest.mark.parametrize("passphrase", [None, "x"])
def test_t07_a_public_key_that_is_not_the_private_ones_is_refused(passphrase: str | None) -> None:
    data = build_key_file(FileSigner(b"\x01" * 32, "carla"), passphrase)
    with pytest.raises(KeyFileError, match="does not belong"):
        open_key_file(changed(data, public=FileSigner(b"\x02" * 32, "x").public.hex()), passphrase)


@pytest.mark.parametrize("fields", [{"kind": "x"}, {"format": 2}, {"algorithm": "rsa"}, {"holder": "A b"}, {"seed": 7}])
def test_t03_other_kinds_formats_and_algorithms_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(KeyFileError):
        open_key_file(changed(build_key_file(FileSigner(b"\x01" * 32, "carla")), **fields))


def test_t03_anything_after_the_object_and_any_other_form_is_refused() -> None:
    data = build_key_file(FileSigner(b"\x01" * 32, "carla"))
    for bad in (data + b"\n", b" " + data, data.replace(b":", b": ", 1), data + b" " * 5000, b"", data[:-1]):
        with pytest.raises(KeyFileError):
            open_key_file(bad)
