"""Reports of names after a load, read by skopeo and by the parsers of their formats; and who is told of a load."""

import json
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from content import add_image, tar_of
from registry import running_registry
from serving import serving
from two_sides import Sides

from tidegate.depot.store import Depot
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader

SKOPEO = shutil.which("skopeo")
TOKEN = "geheim-4711-token"


def settings(sides: Sides, text: str) -> None:
    path = sides.high.root / "tidegate.toml"
    path.write_text(path.read_text() + text)


def carry(sides: Sides, folder: Path, host: str, *names: str, ends: str = "") -> str:
    source = Depot(folder / "source")
    lines = []
    for name in names:
        root = add_image(source, [tar_of({"name": name.encode()})])
        RegistryLoader(source, host).load(LoadItem(f"{host}/{name}", "image", name, root))
        lines.append(f'  - {{ref: "{host}/{name}", load: [one]}}\n')
    path = sides.folder / "list.yaml"
    path.write_text(f"tidegate: 1\nimages:\n{''.join(lines)}{ends}")
    bundle = str(sides.low.good("pack", path, "--json").objects[-1]["bundle"])
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    return bundle


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed: apt-get install skopeo")
def test_who_pulls_the_old_name_by_the_report_gets_it_from_the_new_place(sides: Sides, tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    with running_registry(tmp_path / "one") as one:
        with running_registry(tmp_path / "up") as up:
            rules = f'[targets.one.rewrite]\n"{up}/team/" = "mirror/deep/"\n'
            settings(sides, f'[targets.one]\nto = "{one}/in"\nreports = {{ csv = "{tmp_path}/names.csv" }}\n{rules}')
            bundle = carry(sides, tmp_path, up, "team/web:1", "tool:2")
        sides.high.good("load", bundle, "--to", "one", "--report", f"registries:{conf}")
        # The old registry is gone: only the mirror can answer.
        for name in ("team/web:1", "tool:2"):
            subprocess.run(
                [str(SKOPEO), "--registries-conf", str(conf), "inspect", "--no-tags", f"docker://{up}/{name}"],
                check=True,
                capture_output=True,
                timeout=60,
            )
    rows = (tmp_path / "names.csv").read_text().splitlines()
    assert rows[0] == "old,new,digest,old_digest,kind"
    assert rows[1].startswith(f"{up}/team/web:1,{one}/in/mirror/deep/web:1,sha256:")
    again = sides.high.good("names", "--to", "one", "--format", "csv").out
    assert again.splitlines() == rows


def test_each_format_is_written_for_a_registry_and_for_the_stage(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "one") as one, running_registry(tmp_path / "up") as up:
        settings(sides, f'[targets.one]\nto = "{one}/in"\n')
        docs = sides.make_files(count=1, size=10)
        bundle = carry(sides, tmp_path, up, "team/web:1", ends=f"files: [{docs}]\n")
        sides.high.good("load", bundle, "--asked")
        listed = sides.high.good("names", "--json").objects[-1]
        assert listed["targets"] == [f"{one}/in", "stage:default"]
        said = {
            kind: sides.high.good("names", "--to", "one", "--format", kind).out
            for kind in ("idms", "itms", "kbld", "imageslock", "ansible", "json")
        }
        mirrors = yaml.safe_load(said["idms"])["spec"]["imageDigestMirrors"]
        assert [(item["source"], item["mirrors"]) for item in mirrors] == [(f"{up}/team/web", [f"{one}/in/team/web"])]
        (override,) = yaml.safe_load(said["kbld"])["overrides"]
        assert override["image"] == f"{up}/team/web:1"
        assert yaml.safe_load(said["imageslock"])["kind"] == "ImagesLock"
        assert list(yaml.safe_load(said["ansible"])["tidegate_images"]) == [f"{up}/team/web:1"]
        sides.high.good("names", "--to", "one", "--format", "hosts", "--out", tmp_path / "certs.d")
        hosts = tomllib.loads((tmp_path / "certs.d" / up / "hosts.toml").read_text())
        assert hosts["host"][f"http://{one}/v2/in"]["override_path"] is True
        stage = sides.high.good("names", "--stage", "--host", "depot.example:5000", "--format", "json").out
        places = {item["old"]: item["new"] for item in json.loads(stage)}
        assert places["files/docs"] == "depot.example:5000/files/docs:latest"
        sides.high.fails(2, "names", "--stage", "--format", "idms")
        sides.high.fails(2, "names", "--to", "nowhere.example", "--format", "idms")
        sides.high.good("load", bundle, "--to", str(tmp_path / "disk"))
        sides.high.fails(2, "names", "--to", str(tmp_path / "disk"), "--format", "kyverno")


def test_a_report_that_cannot_be_written_undoes_no_load(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "one") as one, running_registry(tmp_path / "up") as up:
        reports = f'reports = {{ nonsense = "{tmp_path}/a", csv = "{tmp_path}/missing/b" }}\n'
        settings(sides, f'[targets.one]\nto = "{one}"\n{reports}[targets.bad]\nto = "no target"\n')
        bundle = carry(sides, tmp_path, up, "team/web:1")
        sides.high.fails(2, "load", bundle, "--to", "one", "--report", "nonsense:x")
        answer = sides.high.good("load", bundle, "--to", "one")
    assert "'nonsense' is no format" in answer.err
    assert "report csv: " in answer.err


@contextmanager
def listener(status: int = 200, seconds: float = 0.0) -> Iterator[tuple[str, list[tuple[str, dict[str, object]]]]]:
    """Somebody who is told: (address, what came: authorization and body)."""
    heard: list[tuple[str, dict[str, object]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers.get("Authorization", ""), json.loads(body)))
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as host:
        yield f"http://{host}/start?job=7", heard


def hooks(sides: Sides) -> list[tuple[object, object]]:
    return [(item["outcome"], item.get("detail")) for item in sides.high.entries() if item["event"] == "hook"]


def test_a_program_and_an_address_are_told_once_of_each_load(sides: Sides, tmp_path: Path) -> None:
    program = tmp_path / "told"
    program.write_text(f'#!/bin/sh\ncat > "{tmp_path}/heard"\necho "$TIDEGATE_BUNDLE $1" > "{tmp_path}/with"\n')
    program.chmod(0o755)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with listener() as (url, heard):
        text = f'command = ["{program}", "a; b $(c)"]\nurl = "{url}"\ntoken_file = "{tmp_path}/token"\n'
        settings(sides, f"[after_load]\n{text}")
        bundle = sides.pack(count=1, size=10)
        sides.send(bundle)
        sides.high.good("receive", sides.stick)
        sides.high.good("load", bundle)
        sides.high.good("load", bundle)  # nothing to do, and nobody is told of it
    ((authorization, body),) = heard
    assert authorization == f"Bearer {TOKEN}"
    assert body == json.loads((tmp_path / "heard").read_text())
    assert (body["event"], body["bundle"]) == ("loaded", bundle)
    assert [item["name"] for item in body["items"]] == ["files/docs"]  # type: ignore[attr-defined]
    assert (tmp_path / "with").read_text() == f"{bundle} a; b $(c)\n"
    assert [outcome for outcome, _ in hooks(sides)] == ["done", "done"]
    assert TOKEN not in (sides.high.root / "tidegate.toml").read_text()


@pytest.mark.parametrize(("status", "seconds"), [(500, 0.0), (302, 0.0), (200, 3.0)])
def test_whoever_cannot_be_told_undoes_no_load(sides: Sides, tmp_path: Path, status: int, seconds: float) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with listener(status, seconds) as (url, heard):
        text = f'command = ["/bin/sleep", "30"]\nurl = "{url}"\ntoken_file = "{tmp_path}/token"\nseconds = 1\n'
        settings(sides, f"[after_load]\n{text}")
        bundle = sides.pack(count=1, size=10)
        sides.send(bundle)
        sides.high.good("receive", sides.stick)
        answer = sides.high.good("load", bundle)
        assert len(heard) == 1
    assert "not done within 1 s" in answer.err
    assert TOKEN not in answer.err
    assert "job=7" not in answer.err
    assert "files/docs:latest" in sides.high.stage()
    assert [outcome for outcome, _ in hooks(sides)] == ["failed", "failed"]
    assert TOKEN not in json.dumps(sides.high.entries())


def test_what_loads_by_itself_tells_of_it_too(sides: Sides, tmp_path: Path) -> None:
    text = f'[channels.plant]\nrelease = "automatic"\n[after_load]\ncommand = ["/usr/bin/tee", "{tmp_path}/heard"]\n'
    settings(sides, text)
    bundle = sides.pack(count=1, size=10)
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    assert json.loads((tmp_path / "heard").read_text())["bundle"] == bundle


@pytest.mark.parametrize(
    "text",
    [
        'url = "ftp://ci.example"',
        'url = "https://user:secret@ci.example/"',
        'url = "http://ci.example/"\ntoken_file = "/etc/token"',
        'command = "rm -rf /"',
        "seconds = 0",
        "second = 5",
    ],
)
def test_settings_of_it_that_cannot_be_are_refused(sides: Sides, text: str) -> None:
    settings(sides, f"[after_load]\n{text}\n")
    sides.high.fails(2, "status")
