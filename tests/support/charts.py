"""Packaged Helm charts made in memory, well-formed and hostile, and a chart repository on a plain HTTP server."""

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from image_tars import plain_tar
from serving import serving

TEMPLATE = b"""apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - name: web
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
    - name: side
      image: registry.example/side:3
"""
VALUES = b"image: {repository: registry.example/web, tag: '2'}\n"


def tgz(members: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    """A gzipped tar of `members`, in their order, and symbolic `links`; the same input gives the same bytes."""
    return gzip.compress(plain_tar(members, links), mtime=0)


def chart_yaml(name: str, version: str, **fields: object) -> bytes:
    return yaml.safe_dump(
        {"apiVersion": "v2", "name": name, "version": version, "appVersion": "1.0", **fields}
    ).encode()


def make_chart(name: str, version: str, *, files: dict[str, bytes] | None = None, **fields: object) -> bytes:
    """A chart with two images, one of them from its values."""
    content = {"values.yaml": VALUES, "templates/pod.yaml": TEMPLATE} if files is None else files
    members = {f"{name}/Chart.yaml": chart_yaml(name, version, **fields)}
    return tgz(members | {f"{name}/{path}": data for path, data in content.items()})


def write_repository(folder: Path, charts: dict[str, bytes], *, digests: bool = True) -> None:
    """Charts by file name (``app-1.2.3.tgz``) and their index, as `helm repo index` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, list[dict[str, object]]] = {}
    for file, content in charts.items():
        (folder / file).write_bytes(content)
        name, _, version = file.removesuffix(".tgz").partition("-")
        entry: dict[str, object] = {"apiVersion": "v2", "name": name, "version": version, "urls": [file]}
        if digests:
            entry["digest"] = sha256(content).hexdigest()
        entries.setdefault(name, []).append(entry)
    (folder / "index.yaml").write_text(json.dumps({"apiVersion": "v1", "entries": entries}))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


class _Guarded(_Quiet):
    """Gives nothing to whoever has not the right name and password."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"robot:geheimnis").decode()
        if self.headers.get("Authorization") == expected:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="charts"')
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Breaking(_Quiet):
    """Breaks off in the middle of every first answer to a question."""

    seen: set[str]

    def do_GET(self) -> None:
        if self.path in self.seen or not Path(self.translate_path(self.path)).is_file():
            super().do_GET()
            return
        self.seen.add(self.path)
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True


@contextmanager
def serving_folder(folder: Path, *, guarded: bool = False, breaking: bool = False) -> Iterator[str]:
    """A plain HTTP server over `folder`; gives its address. With `guarded` for robot, whose password is geheimnis."""
    handler = type("Breaking", (_Breaking,), {"seen": set()}) if breaking else _Guarded if guarded else _Quiet
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))) as host:
        yield f"http://{host}"
