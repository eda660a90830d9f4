"""Registries that refuse, fail, hang or lie, as source of `pack` and target of `load`, through the command."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bad_registry import BadRegistry, Fault, bad_registry
from faulty_registry import FaultyRegistry, Handler, faulty_registry
from two_sides import Sides

LAYER = bytes(range(256)) * 2000
#: the command has no option for its time limits, so what hangs is asked for in a process whose limits are short
QUICK = (
    "import tidegate.registry.transport as t;"
    "t.Timeouts.__init__.__defaults__ = (2.0, 1.0, 2.0, 2, 0.05, 0.1, 0.1);"
    "from tidegate.cli import main; main()"
)


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry() as made:
        made.image("1", LAYER)
        yield made


@pytest.fixture
def target() -> Iterator[BadRegistry]:
    with bad_registry() as made:
        yield made


def answering(part: str, answer: Callable[[Handler], object]) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        if part in handler.path:
            answer(handler)
            return True
        return False

    return fault


def other_bytes(handler: Handler) -> None:
    handler.answer(200, bytes(len(LAYER)))


def fewer_bytes(handler: Handler) -> None:
    handler.answer(200, LAYER[:-1])


SOURCES = {
    "401": ("/manifests/", lambda handler: handler.error(401, "UNAUTHORIZED"), 12),
    "403 on a layer": ("/blobs/", lambda handler: handler.error(403, "DENIED"), 12),
    "404": ("/manifests/", lambda handler: handler.error(404, "MANIFEST_UNKNOWN"), 11),
    "500": ("/manifests/", lambda handler: handler.error(500, "UNKNOWN"), 11),
    "a lie about a digest": ("/blobs/", other_bytes, 13),
    "a layer too short": ("/blobs/", fewer_bytes, 13),
    "a page in place of a manifest": ("/manifests/", lambda handler: handler.answer(200, b"<html>"), 17),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_is_bad_is_named_recorded_and_nothing_of_it_is_packed(
    name: str, sides: Sides, registry: FaultyRegistry
) -> None:
    part, answer, code = SOURCES[name]
    registry.faults.append(answering(part, answer))
    said = sides.low.run("pack", f"{registry.host}/app:1")
    assert said.code == code, said
    assert said.is_ours, said
    assert registry.host in said.err
    assert sides.low.events() == ["collect failed"]
    assert sides.low.states() == []
    assert names_of(sides.low.root / "depot") == []  # blobs that came whole are kept, and nothing names them
    sides.low.check()
    registry.faults.clear()
    sides.low.good("pack", f"{registry.host}/app:1")
    assert sides.low.events() == ["collect done", "pack done", "sign done"]
    sides.low.check()


def names_of(layout: Path) -> list[object]:
    return list(json.loads((layout / "index.json").read_bytes())["manifests"])


def test_a_source_that_hangs_is_given_up_after_its_time_limit(sides: Sides, registry: FaultyRegistry) -> None:
    registry.faults.append(answering("/manifests/", Handler.hang))
    said = sides.low.run("pack", f"{registry.host}/app:1", program=[sys.executable, "-c", QUICK])
    assert said.code == 11 and said.is_ours, said
    assert "no answer within" in said.err
    assert sides.low.events() == ["collect failed"]
    assert names_of(sides.low.root / "depot") == []


def test_one_bad_image_of_several_leaves_the_others(sides: Sides, registry: FaultyRegistry) -> None:
    registry.image("2", LAYER[::-1])
    registry.faults.append(answering("/manifests/2", lambda handler: handler.error(500, "UNKNOWN")))
    said = sides.low.fails(3, "pack", f"{registry.host}/app:1", f"{registry.host}/app:2", sides.make_files())
    assert "1 of 3 could not be brought" in said.err
    assert sides.low.events() == ["collect partial", "pack done", "sign done"]
    sides.send("1")
    sides.assert_arrives("1")


def test_a_required_image_that_is_bad_stops_everything(sides: Sides, registry: FaultyRegistry) -> None:
    wanted = sides.folder / "transfer.yaml"
    wanted.write_text(
        f"tidegate: 1\nimages:\n  - ref: {registry.host}/app:9\n    required: true\nfiles:\n"
        f"  - path: {sides.make_files()}\n"
    )
    said = sides.low.run("pack", wanted)
    assert said.code == 11, said
    assert said.is_ours
    assert sides.low.events() == ["collect failed/registry"]
    assert sides.low.states() == []


# --- targets ----------------------------------------------------------------------------------


def refusing(method: str, part: str, answer: int | str) -> Fault:
    return lambda asked, path: answer if asked == method and part in path else None


TARGETS = {
    "401": (refusing("POST", "/uploads/", 401), 12),
    "403 for the tag": (refusing("PUT", "/manifests/", 403), 12),
    "500": (refusing("PUT", "/uploads/", 500), 11),
    "a lie about what it stored": (refusing("PUT", "/uploads/", "lie"), 13),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_is_bad_is_named_and_the_same_load_goes_on_later(
    name: str, sides: Sides, registry: FaultyRegistry, target: BadRegistry
) -> None:
    sides.low.good("pack", f"{registry.host}/app:1")
    sides.send("1")
    sides.high.good("receive", sides.stick)
    sides.high.events()
    target.fault, code = TARGETS[name]
    said = sides.high.run("load", "1", "--to", target.host)
    assert said.code == code, said
    assert said.is_ours, said
    events = sides.high.events()
    assert [event.split("/")[0] for event in events][-1] == "load-failed failed"
    assert sides.high.states() == ["loaded"]  # into the stage; the target is a matter of its own
    sides.high.check()
    target.fault = refusing("NONE", "", 500)
    sides.high.good("load", "1", "--to", target.host)
    assert sides.high.events() == ["load begun", "load done"]
    assert target.tags == {"1"}
    assert "nothing to do" in sides.high.good("load", "1", "--to", target.host).out


def test_a_target_where_nobody_listens(sides: Sides) -> None:
    bundle = sides.pack()
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    sides.high.events()
    sides.high.fails(11, "load", bundle, "--to", "127.0.0.1:1")
    assert sides.high.events()[-1].startswith("load-failed failed")
    sides.high.check()
    sides.assert_loads(bundle)
