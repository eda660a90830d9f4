"""The published vectors of docs/format/trust.md, each case a test."""

import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tidegate import errors
from tidegate.clock import parse_time
from tidegate.trust import checks
from tidegate.trust.acts import PEOPLE, check_act, read_act
from tidegate.trust.envelope import pae
from tidegate.trust.keys import FileSigner, open_key_file
from tidegate.trust.payload import Limits
from tidegate.trust.root import continue_chain, parse_chain
from tidegate.trust.words import fingerprint_words

FOLDER = Path(__file__).parents[2] / "vectors" / "trust"


def cases(name: str) -> list[Any]:
    listed = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in listed]


def refusal(case: dict[str, Any]) -> type[errors.TidegateError]:
    kind = getattr(errors, case["result"])
    assert issubclass(kind, errors.TidegateError)
    return kind  # type: ignore[no-any-return]


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_trust_vectors", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_make_writes() -> None:
    for name, text in maker().all_files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run tests/vectors/trust/make.py"


@pytest.mark.parametrize("case", cases("keys"))
def test_keys(case: dict[str, str]) -> None:
    signer = FileSigner(bytes.fromhex(case["seed"]), case["holder"])
    assert (signer.public.hex(), signer.key_id) == (case["public"], case["key_id"])


@pytest.mark.parametrize("case", cases("pae"))
def test_pae(case: dict[str, str]) -> None:
    assert pae(case["type"], bytes.fromhex(case["payload_hex"])).hex() == case["pae_hex"]


@pytest.mark.parametrize("case", cases("chains"))
def test_chains(case: dict[str, Any]) -> None:
    data = case["chain"].encode()
    if case["result"] == "accept":
        chain = parse_chain(data)
        assert (chain.channel_id, chain.newest.version) == (case["channel_id"], case["version"])
        assert chain.to_whole_bytes() == data
    else:
        with pytest.raises(errors.TidegateError) as caught:
            parse_chain(data)
        assert type(caught.value) is refusal(case), caught.value


@pytest.mark.parametrize("case", cases("follow"))
def test_follow(case: dict[str, Any]) -> None:
    stored, carried = parse_chain(case["stored"].encode()), case["carried"].encode()
    if case["result"] == "accept":
        assert continue_chain(stored, carried).newest.version == case["version"]
    else:
        with pytest.raises(errors.TidegateError) as caught:
            continue_chain(stored, carried)
        assert type(caught.value) is refusal(case), caught.value


@pytest.mark.parametrize("case", cases("detached"))
def test_detached(case: dict[str, Any]) -> None:
    chain = parse_chain(case["chain"].encode())
    others = tuple(parse_chain(text.encode()) for text in case["others"])
    given = (case["detached"].encode(), case["manifest"].encode(), chain)
    if case["result"] == "accept":
        assert sorted(signer.key_id for signer in checks.verify_manifest(*given, others=others)) == case["signers"]
    else:
        with pytest.raises(errors.TidegateError) as caught:
            checks.verify_manifest(*given, others=others)
        assert type(caught.value) is refusal(case), caught.value


@pytest.mark.parametrize("case", cases("acts"))
def test_acts(case: dict[str, Any]) -> None:
    site = parse_chain(case["site"].encode())

    def take() -> set[str]:
        act, _, signers = read_act(case["act"].encode(), site.newest)
        check_act(act, site.channel_id, parse_time(case["floor"]), what="act")
        return {signer.holder for signer in signers}

    if case["result"] == "accept":
        people = take()
        assert (sorted(people), len(people) >= PEOPLE) == (case["holders"], case["counts"])
    else:
        with pytest.raises(errors.TidegateError) as caught:
            take()
        assert type(caught.value) is refusal(case), caught.value


@pytest.mark.parametrize("case", cases("key-files"))
def test_key_files(case: dict[str, Any]) -> None:
    if case["result"] == "accept":
        assert open_key_file(case["file"].encode(), case.get("passphrase")).key_id == case["key_id"]
    else:
        with pytest.raises(refusal(case)):
            open_key_file(case["file"].encode(), case.get("passphrase"))


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Facts:
    channel_name: str
    content_size: int
    artifacts: tuple[Artifact, ...]
    removed: tuple[str, ...]


@pytest.mark.parametrize("case", cases("limits"))
def test_limits(case: dict[str, Any]) -> None:
    chain = parse_chain(json.loads((FOLDER / "chains.json").read_text(encoding="utf-8"))[0]["chain"].encode())
    root = _with_release_limits(chain.newest, msgspec.convert(case["limits"], Limits))
    facts = msgspec.convert(case["facts"], Facts)
    if case["result"] == "accept":
        checks.check_limits(root, facts)
    else:
        with pytest.raises(refusal(case)):
            checks.check_limits(root, facts)


def _with_release_limits(root: Any, limits: Limits) -> Any:
    return replace(root, roles={**root.roles, "release": replace(root.roles["release"], limits=limits)})


@pytest.mark.parametrize("case", cases("words"))
def test_words(case: dict[str, str]) -> None:
    assert fingerprint_words(case["id"]) == case["words"]
