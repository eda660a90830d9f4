"""Make the content vectors again: `python tests/vectors/content/make.py`.

Written from docs/format/content.md with json and hashlib, and without Tidegate's own code, so that the vectors say what
the document says. `tree_*.json`: a tree, and the manifest that it becomes (`.tar`: its one tar, where that is small);
`graph_*.json`: blobs, a root, and the order of the walk or the name of the error; `names.json`: references and titles
with their names and places.
"""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).parent
MIB = 1 << 20
ROOM = 64 * MIB - 1024
OCI = "application/vnd.oci."
MANIFEST, INDEX = OCI + "image.manifest.v1+json", OCI + "image.index.v1+json"
CONFIG, LAYER = OCI + "image.config.v1+json", OCI + "image.layer.v1.tar+gzip"
EMPTY = {"mediaType": OCI + "empty.v1+json", "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest(), "size": 2}
FILES = "application/vnd.tidegate.files.v1"
TITLE = "org.opencontainers.image.title"


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    # Enough of RFC 8785 for ASCII keys, texts and integers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# --- trees --------------------------------------------------------------------------------------


def ustar(name: bytes, prefix: bytes, mode: int, size: int, mtime: int, kind: bytes, target: bytes) -> bytes:
    head = bytearray(512)

    def put(offset: int, data: bytes) -> None:
        head[offset : offset + len(data)] = data

    put(0, name)
    put(100, b"%07o\0" % mode)
    put(108, b"0000000\0")
    put(116, b"0000000\0")
    put(124, b"%011o\0" % size)
    put(136, b"%011o\0" % mtime)
    put(148, b" " * 8)
    put(156, kind)
    put(157, target)
    put(257, b"ustar\x0000")
    put(345, prefix)
    put(148, b"%06o\0 " % sum(head))
    return bytes(head)


def place(path: bytes) -> tuple[bytes, bytes] | None:
    if max(path) > 0x7F:
        return None
    if len(path) <= 100:
        return path, b""
    for cut in range(1, min(155, len(path) - 2) + 1):
        if path[cut] == ord("/") and len(path) - cut - 1 <= 100:
            return path[cut + 1 :], path[:cut]
    return None


def clipped(text: bytes) -> bytes:
    return bytes(byte if byte < 0x80 else ord("_") for byte in text[:100])


def record(key: bytes, value: bytes) -> bytes:
    for digits in range(1, 6):
        length = digits + 1 + len(key) + 1 + len(value) + 1
        if len(str(length)) == digits:
            return b"%d %s=%s\n" % (length, key, value)
    raise AssertionError


def utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def headers(path: bytes, entry: dict) -> bytes:
    kind = {"file": b"0", "link": b"2", "folder": b"5"}[entry["type"]]
    target = bytes.fromhex(entry.get("target", ""))
    size, mtime = entry.get("size", 0), entry["mtime"]
    mode = 0o777 if kind == b"2" else int(entry["mode"], 8)
    records = {}
    fits = len(target) <= 100 and all(byte < 0x80 for byte in target)
    if not fits:
        records[b"linkpath"] = target
    if not 0 <= mtime <= 0o77777777777:
        records[b"mtime"] = b"%d" % mtime
    if place(path) is None:
        records[b"path"] = path
    if any(not utf8(records[key]) for key in records):
        records[b"hdrcharset"] = b"BINARY"
    content = b"".join(record(key, records[key]) for key in sorted(records))
    name, prefix = place(path) or (clipped(path), b"")
    main = ustar(
        name, prefix, mode, size, 0 if b"mtime" in records else mtime, kind, target if fits else clipped(target)
    )
    if not content:
        return main
    pax = ustar(b"PaxHeader", b"", 0o644, len(content), 0, b"x", b"")
    return pax + content + bytes(-len(content) % 512) + main


def order(entries: dict[bytes, dict], title: bytes) -> list[list[bytes]]:
    """Runs of paths: a folder with what it holds that is no folder, folder after folder."""
    if entries[b""]["type"] != "folder":
        return [[b""]]

    def visit(folder: bytes) -> list[list[bytes]]:
        inside = sorted(
            (path for path in entries if path and path.rpartition(b"/")[0] == folder),
            key=lambda p: p.rpartition(b"/")[2],
        )
        plain = [path for path in inside if entries[path]["type"] != "folder"]
        runs = [[folder, *plain]]
        for path in inside:
            if entries[path]["type"] == "folder":
                runs += visit(path)
        return runs

    return visit(b"")


def tars(entries: dict[bytes, dict], title: bytes) -> list[bytes]:
    """The tars of a tree, by C-10 and C-11."""

    def full(path: bytes) -> bytes:
        whole = title + (b"/" + path if path else b"")
        return whole + (b"/" if entries[path]["type"] == "folder" else b"")

    def member(path: bytes) -> bytes:
        entry = entries[path]
        content = bytes.fromhex(entry.get("content", "")) if "content" in entry else bytes(entry.get("size", 0))
        return headers(full(path), entry) + content + bytes(-len(content) % 512)

    done: list[bytes] = []
    held: list[bytes] = []

    def length() -> int:
        return sum(map(len, held))

    def end() -> None:
        if held:
            done.append(b"".join(held) + bytes(1024))
            held.clear()

    def before(path: bytes, count: int) -> None:
        drawn = int.from_bytes(hashlib.sha256(full(path)).digest()[:4], "big") * 16777216 < count * 2**32
        if length() + count > ROOM or (length() + 1024 >= 16 * MIB and drawn):
            end()

    for run in order(entries, title):
        members = [member(path) for path in run]
        total = sum(map(len, members))
        before(run[0], total)
        if total <= ROOM:
            held += members
            continue
        for path, data in zip(run, members, strict=True):
            before(path, len(data))
            held.append(data)
            if len(data) > ROOM:
                end()
    end()
    return done


def tree(name: str, title: str, entries: dict[bytes, dict], rule: str) -> None:
    for entry in entries.values():
        if "content" in entry:
            entry["size"] = len(entry["content"]) // 2
    parts = tars(entries, title.encode())
    layers = [
        {
            "mediaType": OCI + "image.layer.v1.tar",
            "digest": sha(part),
            "size": len(part),
            "annotations": {TITLE: f"{title}.{number:05d}.tar"},
        }
        for number, part in enumerate(parts, 1)
    ]
    counts = {
        "vnd.tidegate.files.entries": str(len(entries)),
        "vnd.tidegate.files.bytes": str(sum(e.get("size", 0) for e in entries.values() if e["type"] == "file")),
    }
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": FILES,
            "config": EMPTY,
            "layers": layers,
            "annotations": {TITLE: title, **counts},
        }
    )
    plain = [{"path": path.hex(), **entry} for path, entry in sorted(entries.items())]
    vector = {"rule": rule, "title": title, "entries": plain, "manifest": manifest.decode(), "digest": sha(manifest)}
    (HERE / f"tree_{name}.json").write_text(json.dumps(vector, indent=1, ensure_ascii=True) + "\n")
    if sum(map(len, parts)) < 10_000:
        (HERE / f"tree_{name}.tar").write_bytes(parts[0])


def folder(mtime: int = 1_700_000_000, mode: str = "0755") -> dict:
    return {"type": "folder", "mode": mode, "mtime": mtime}


def file(content: bytes, mtime: int = 1_700_000_000, mode: str = "0644") -> dict:
    return {"type": "file", "mode": mode, "mtime": mtime, "content": content.hex()}


def zeros(size: int) -> dict:
    return {"type": "file", "mode": "0600", "mtime": 1, "size": size}


def link(target: bytes) -> dict:
    return {"type": "link", "mtime": 1_700_000_000, "target": target.hex()}


def trees() -> None:
    tree("small", "docs", {b"": folder(), b"b.txt": file(b"hello\n"), b"a": folder(), b"a/c": file(b"")}, "C-10")
    tree("single_file", "x.iso", {b"": file(b"iso", mode="0400")}, "C-10")
    tree("empty_folder", "empty", {b"": folder(0, "0700")}, "C-11")
    names = {
        b"": folder(),
        "zwölf".encode(): file(b"12"),
        b"\xff\xfe": file(b"binary"),
        b"n" * 120: file(b"no cut fits"),
        b"p" * 90: folder(),
        b"p" * 90 + b"/" + b"q" * 90: file(b"prefix and name"),
        b"late": file(b"", mtime=8**11),
        b"early": file(b"", mtime=-86400),
        b"to": link(b"../outside"),
        b"far": link(b"x/" * 60),
        b"nah": link("ä".encode()),
    }
    tree("names_and_times", "t", names, "tar")
    upper = {b"": folder(), b"B": folder(), b"B/1": file(b"1"), b"a-": folder(), b"a": folder(), b"a/2": file(b"2")}
    upper |= {b"a-/3": file(b"3"), b"Z": file(b"z"), b"_": file(b"_")}
    tree("order", "o", upper, "C-10")
    large = {b"": folder()}
    for outer in range(12):
        name = b"d%02d" % outer
        large[name] = folder()
        for inner in range(3):
            large[name + b"/f%d" % inner] = zeros(3 * MIB + 1000 * outer + inner)
    large[b"flat"] = folder()
    for inner in range(30):
        large[b"flat/%02d" % inner] = zeros(5 * MIB)
    large[b"flat/15-big"] = zeros(64 * MIB)
    large[b"flat/20-just"] = zeros(64 * MIB - 1536)
    tree("c11_borders", "large", large, "C-11")


# --- graphs -------------------------------------------------------------------------------------


class Graph:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def blob(self, data: bytes, media_type: str, **more: object) -> dict:
        self.blobs[sha(data)] = data
        return {"mediaType": media_type, "digest": sha(data), "size": len(data), **more}

    def manifest(self, *layers: dict, **more: object) -> dict:
        config = self.blob(b"{}", CONFIG)
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers), **more}
        return self.blob(canonical(value), MANIFEST)

    def index(self, *children: dict, **more: object) -> dict:
        return self.blob(
            canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children), **more}), INDEX
        )

    def layer(self, text: str) -> dict:
        return self.blob(text.encode(), LAYER)

    def write(self, name: str, root: dict, answer: object, rule: str) -> None:
        blobs = {digest: data.decode() for digest, data in sorted(self.blobs.items())}
        vector = {"rule": rule, "root": root, "answer": answer, "blobs": blobs}
        (HERE / f"graph_{name}.json").write_text(json.dumps(vector, indent=1) + "\n")


def on(child: dict, os: str, architecture: str, **more: object) -> dict:
    return {**child, "platform": {"os": os, "architecture": architecture}, **more}


def refused(name: str, rule: str, change: dict) -> None:
    graph = Graph()
    graph.write(name, graph.manifest(graph.layer("a"), **change), "GraphError", rule)


def graphs() -> None:
    graph = Graph()
    shared, a, b = graph.layer("shared"), graph.layer("a"), graph.layer("b")
    first, second = graph.manifest(a, shared), graph.manifest(shared, b)
    root = graph.index(first, second)
    empty = sha(b"{}")
    expected = [root["digest"], first["digest"], empty, a["digest"], shared["digest"], second["digest"], b["digest"]]
    graph.write("ok_index", root, expected, "C-3")

    graph = Graph()
    amd, arm = graph.manifest(graph.layer("amd")), graph.manifest(graph.layer("arm"))
    proof = graph.manifest(graph.layer("proof"))
    told = {"annotations": {"vnd.docker.reference.digest": amd["digest"]}}
    root = graph.index(on(amd, "linux", "amd64"), on(arm, "linux", "arm64"), on(proof, "unknown", "unknown", **told))
    chosen = {**root, "annotations": {"vnd.tidegate.platforms": "linux/amd64,linux/s390x"}}
    layers = [sha(b"amd"), sha(b"proof")]
    graph.write(
        "c07_platforms", chosen, [root["digest"], amd["digest"], empty, layers[0], proof["digest"], layers[1]], "C-7"
    )
    unsorted = {**root, "annotations": {"vnd.tidegate.platforms": "linux/s390x,linux/amd64"}}
    graph.write("c07_platforms_unsorted", unsorted, "GraphError", "C-7")

    zero = "sha256:" + "0" * 64
    refused("c01_sha512", "C-1", {"layers": [{"mediaType": LAYER, "digest": "sha512:" + "0" * 128, "size": 1}]})
    refused("c04_media_type", "C-4", {"mediaType": INDEX})
    refused("c04_manifests_and_layers", "C-4", {"manifests": []})
    refused("c05_two_sizes", "C-5", {"layers": [{"mediaType": LAYER, "digest": zero, "size": n} for n in (1, 2)]})
    refused("c06_urls", "C-6", {"layers": [{"mediaType": LAYER, "digest": zero, "size": 1, "urls": ["https://x"]}]})
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    refused("c06_foreign", "C-6", {"layers": [{"mediaType": foreign, "digest": zero, "size": 1}]})
    graph = Graph()
    graph.write("c02_leaf_in_index", graph.index(graph.layer("a")), "GraphError", "C-2")
    graph = Graph()
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    graph.write("c02_schema_1", graph.blob(b'{"schemaVersion":1}', old), "GraphError", "C-2")
    graph = Graph()
    root = graph.manifest(graph.layer("a"))
    for _ in range(8):
        root = graph.index(root)
    graph.write("c03_nine_levels", root, "GraphError", "C-3")
    graph = Graph()
    graph.write("c04_size", {**graph.manifest(), "size": 7}, "GraphError", "C-4")


def names() -> None:
    digest = "sha256:" + "a" * 64
    references = {
        "alpine": ["docker.io/library/alpine:latest", "library/alpine:latest"],
        "alpine:3": ["docker.io/library/alpine:3", "library/alpine:3"],
        "grafana/grafana:9": ["docker.io/grafana/grafana:9", "grafana/grafana:9"],
        "localhost:5000/app:1": ["localhost:5000/app:1", "app:1"],
        f"localhost:5000/app@{digest}": [f"localhost:5000/app@{digest}", f"app@{digest}"],
        f"quay.io/a/b:1@{digest}": ["quay.io/a/b:1", "a/b:1"],
        "App": None,
        "a:b:c": None,
        "../a": None,
        "a@sha512:00": None,
    }
    titles = {
        "docs": ["files/docs", "files/docs:latest"],
        "My Docs (2).iso": ["files/my-docs-2-iso", "files/my-docs-2-iso:latest"],
        "a__b..c_d.e": ["files/a-b-c_d.e", "files/a-b-c_d.e:latest"],
        "文档": None,
        "..": None,
        "a/b": None,
        "": None,
    }
    (HERE / "names.json").write_text(json.dumps({"references": references, "titles": titles}, indent=1) + "\n")


if __name__ == "__main__":
    trees()
    graphs()
    names()
