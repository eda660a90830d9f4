"""The main job, end to end, as two people would do it: each step is the installed command in a process of its own."""

import contextlib
import json
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from tidegate.demo.diode import cross_link
from tidegate.demo.image import build_image, local_files
from tidegate.demo.servers import free_port, registry, registry_program, running
from tidegate.demo.side import DemoError, Side, tidegate_command
from tidegate.demo.stick import damage, make_stick, mounted
from tidegate.report import Report
from tidegate.units import MIB, format_bytes

SEED = 7


def run_demo(folder: Path, report: Report) -> dict[str, object]:
    """Carry an image and a folder over a damaged stick, load, serve and pull them; the facts of the closing line."""
    started = time.monotonic()
    low, high = Side("low ", folder / "low", report), Side("high", folder / "high", report)
    pair(low, high, folder)
    docs = make_docs(folder)
    with source_image(folder, report) as (reference, digest):
        low.run("plan", reference, str(docs))
        low.run("pack", reference, str(docs))
    bundle = str(low.ask("show", "1")["bundle"])
    facts = cross(low, high, bundle, folder, report)
    pulled, client = load_and_pull(high, bundle, reference, digest, folder, report)
    files = check_files(high, bundle, docs, folder)
    facts |= cross_link(low, high, folder)
    for side in (low, high):
        side.run("ledger", "list")
        side.run("ledger", "verify")
    return {
        "bundle": bundle,
        "digest": pulled,
        "client": client,
        "files": files,
        "seconds": round(time.monotonic() - started, 1),
        **facts,
    }


def pair(low: Side, high: Side, folder: Path) -> None:
    """First day: both roots, and the words that two people compare by voice."""
    low.run("init", "low", "--channel", "plant", "--site", "plant-7")
    high.run("init", "high", "--site", "plant-7")
    pairing = folder / "plant.root"
    low.run("keys", "export", str(pairing))
    words = str(low.ask("keys", "show")["fingerprint"])
    high.run("trust", "add", str(pairing), "--fingerprint", words)


def make_docs(folder: Path) -> Path:
    """A folder of real files: part of the running Python's standard library."""
    docs = folder / "docs"
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("email", "json", "unittest", "xml"):
        if (library / name).is_dir():
            shutil.copytree(library / name, docs / name, ignore=shutil.ignore_patterns("__pycache__"))
    (docs / "README.txt").write_text("This folder crossed a gap that nothing else crosses.\n", encoding="utf-8")
    return docs


@contextlib.contextmanager
def source_image(folder: Path, report: Report) -> Iterator[tuple[str, str]]:
    """(reference, digest) of an image made from local files: in a real registry where one is installed."""
    layout = folder / "image"
    library = Path(sysconfig.get_path("stdlib"))
    files = list(local_files(library))
    middle = len(files) // 2
    digest = build_image(layout, [files[:middle], files[middle:]])
    size = format_bytes(sum(path.stat().st_size for path in layout.rglob("*") if path.is_file()))
    program, skopeo = registry_program(), shutil.which("skopeo")
    if program is None or skopeo is None:
        report.line(
            f"\nAn image of {size} was made from local files; no registry is installed, so an OCI layout is its source."
        )
        yield f"oci:{layout}:1", digest
        return
    with registry(folder, program) as host:
        target = f"docker://{host}/app:1"
        subprocess.run(
            [skopeo, "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1", target],
            check=True,
        )
        report.line(f"\nAn image of {size} was made from local files and pushed to a registry: {host}/app:1")
        yield f"{host}/app:1", digest


def cross(low: Side, high: Side, bundle: str, folder: Path, report: Report) -> dict[str, object]:
    """Write the stick, damage it, and receive."""
    stick = make_stick(folder)
    with mounted(stick) as mount_point:
        low.run("send", bundle, str(mount_point))
        hole, pages = damage(mount_point, hole_bytes=2 * MIB, scattered=8, seed=SEED)
    kind = "a loop-mounted ext4 image" if stick.is_real else "a folder stands in, since only root may mount"
    report.line(
        f"\nThe stick ({kind}) is carried across;"
        f" on the way {format_bytes(hole)} in one piece and {pages} pages are destroyed."
    )
    with mounted(stick, read_only=True) as mount_point:
        high.run("receive", str(mount_point))
        high.run("receive", str(mount_point))
    high.run("inbox")
    return {"stick": "ext4" if stick.is_real else "folder", "hole_bytes": hole, "pages": pages}


def load_and_pull(
    high: Side, bundle: str, reference: str, digest: str, folder: Path, report: Report
) -> tuple[str, str]:
    """Load, serve, and pull with an independent client where there is one; (digest, who pulled)."""
    high.run("load", bundle)
    port = free_port()
    name = reference.rsplit("/", 1)[-1] if not reference.startswith("oci:") else "image:1"
    serve = [*tidegate_command(), "serve", "--listen", f"127.0.0.1:{port}"]
    report.line(f"\nhigh$ tidegate serve --listen 127.0.0.1:{port} &")
    with running(serve, f"http://127.0.0.1:{port}/v2/", high.environment):
        client, pulled = pull(f"127.0.0.1:{port}", name, folder / "pulled", report)
    if pulled != digest:
        raise DemoError(f"pulled {pulled}, but {digest} was packed")
    report.line(f"  {client} pulled {name}: {pulled}, as it was packed")
    return pulled, client


def pull(host: str, name: str, target: Path, report: Report) -> tuple[str, str]:
    """Pull `name` with skopeo, else with our own registry client; (client, digest of the manifest)."""
    skopeo = shutil.which("skopeo")
    if skopeo is not None:
        report.line(f"\nhigh$ skopeo copy docker://{host}/{name} oci:pulled")
        source = f"docker://{host}/{name}"
        subprocess.run(
            [skopeo, "--insecure-policy", "copy", "-q", "--src-tls-verify=false", source, f"oci:{target}:1"], check=True
        )
        index = json.loads((target / "index.json").read_text(encoding="utf-8"))
        return "skopeo", str(index["manifests"][0]["digest"])
    from tidegate.demo.own_client import pull_image

    report.line("\nskopeo is not installed and could not be: our own client pulls")
    return "our own client", pull_image(host, name)


def check_files(high: Side, bundle: str, docs: Path, folder: Path) -> int:
    """Unpack the folder on the high side and compare every file; their number."""
    target = folder / "unpacked"
    high.run("load", bundle, "--to", str(target))
    count = 0
    for path in sorted(docs.rglob("*")):
        if path.is_file():
            found = [item for item in target.rglob(path.name) if item.read_bytes() == path.read_bytes()]
            if not found:
                raise DemoError(f"{path.name} is not under {target} as it was packed")
            count += 1
    return count
