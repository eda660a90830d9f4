"""Eight images of about 745 MB that share layers, with signatures, SBOMs and attestations: `python bench/images.py`.

Clocks: registry to signed, encoded volume files (sync --to; and pack, then send); approved bundle to the last digest
read back (load).
Peers in the same run, in turn with ours: crane, skopeo, regctl. Registries are distribution v3 on the same tmpfs, fresh
for every load. `--small` makes everything a twentieth, to see that the script works; `--rounds N` sets the rounds.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import MIB, TIDEGATE, Run, Series, in_turn, machine, ratio, run, scratch

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
#: MiB of each of the twelve layers; the first is in all images, the next two in four each, the last is the arm64 one's
LAYERS = (150, 80, 80, 50, 50, 50, 50, 50, 50, 50, 50, 35)
REBUILT = (3, 4, 5)
COSIGN = "--yes --tlog-upload=false --use-signing-config=false --allow-insecure-registry --new-bundle-format=false"
NO_SYNC = {"TIDEGATE_NO_SYNC": "1"}  # the peers do not sync either
TWO_COMMANDS = "tidegate pack, then send"
SYNCED = "tidegate sync --to, each step on the disk before the next"
OURS = {TWO_COMMANDS, SYNCED}
_ENV = {"COSIGN_PASSWORD": "", "OTEL_TRACES_EXPORTER": "none"}


def tool(name: str) -> str:
    folder = subprocess.run(["go", "env", "GOPATH"], capture_output=True, text=True, check=False).stdout.strip()
    found = shutil.which(name) or shutil.which(name, path=f"{folder}/bin")
    if found is None:
        raise SystemExit(f"needs {name}: sh tests/system-packages.sh all")
    return found


# --- the corpus -------------------------------------------------------------------------------


class Layout:
    """An OCI layout in a folder, filled by a fixed seed."""

    def __init__(self, folder: Path, share: int) -> None:
        self.folder, self.share = folder, share
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries: list[dict[str, object]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def layer(self, number: int, edition: int = 0) -> tuple[dict[str, object], str]:
        """A gzip of a tar of random bytes, and its diff id. Stored, not deflated: random bytes do not compress."""
        data = random.Random(f"{number} {edition}").randbytes(LAYERS[number] * MIB // self.share)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(f"layer-{number}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        plain = out.getvalue()
        return self.blob(gzip.compress(plain, 0, mtime=0), LAYER), f"sha256:{hashlib.sha256(plain).hexdigest()}"

    def image(self, layers: list[tuple[dict[str, object], str]], architecture: str = "amd64") -> dict[str, object]:
        config = {"os": "linux", "architecture": architecture, "config": {}}
        config["rootfs"] = {"type": "layers", "diff_ids": [diff for _layer, diff in layers]}
        value = {
            **{"schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(json.dumps(config).encode(), CONFIG)},
            "layers": [layer for layer, _diff in layers],
        }
        return self.blob(json.dumps(value).encode(), MANIFEST)

    def tag(self, descriptor: dict[str, object], name: str) -> None:
        self.entries.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}
        (self.folder / "index.json").write_text(json.dumps(index))


def make_images(folder: Path, share: int, rebuilt: tuple[int, ...] = ()) -> None:
    layout = Layout(folder, share)
    layers = [layout.layer(number, int(number in rebuilt)) for number in range(len(LAYERS))]
    for number in range(8):
        parts = [layers[0], layers[1 + number // 4], layers[3 + number]]
        image = layout.image(parts)
        if number == 7:
            arm = layout.image([layers[0], layers[11]], "arm64")
            children = [
                {**child, "platform": {"os": "linux", "architecture": name}}
                for child, name in ((image, "amd64"), (arm, "arm64"))
            ]
            image = layout.blob(
                json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode(), INDEX
            )
        layout.tag(image, f"app{number}")


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """distribution v3, fresh or as `folder` has it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/storage}}, delete: {{enabled: true}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n'
    )
    environment = {**os.environ, **_ENV}
    process = subprocess.Popen([tool("registry"), "serve", str(config)], env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def fill(layout: Path, host: str, keys: Path) -> None:
    """Push the images; sign, attest and describe each."""
    for number in range(8):
        where = f"{host}/bench/app{number}:1"
        copy = f"{tool('skopeo')} --insecure-policy copy -q --all --dest-tls-verify=false"
        run(f"{copy} oci:{layout}:app{number} docker://{where}")
        digest = run([tool("crane"), "digest", where]).output.strip()
        image = f"{host}/bench/app{number}@{digest}"
        key = f"--key {keys}/cosign.key"
        run(f"{tool('cosign')} sign {COSIGN} {key} {image} 2>/dev/null", env=_ENV)
        sbom = f"{tool('cosign')} attest {COSIGN} {key} --type spdxjson --predicate {keys}/sbom.json {image}"
        run(f"{sbom} 2>/dev/null", env=_ENV)
        put = f"artifact put --host reg={host},tls=disabled --artifact-type application/spdx+json"
        run(f"{tool('regctl')} {put} --subject {image} --file {keys}/sbom.json >/dev/null")


def make_keys(folder: Path) -> None:
    folder.mkdir()
    run(f"cd {folder} && {tool('cosign')} generate-key-pair 2>/dev/null", env=_ENV)
    packages = [{"SPDXID": f"SPDXRef-{number}", "name": f"package-{number}"} for number in range(2000)]
    (folder / "sbom.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "name": "bench", "packages": packages}))


# --- ours and the peers -----------------------------------------------------------------------


class Bench:
    """A source registry, two paired roots, and folders on the same tmpfs."""

    def __init__(self, work: Path, host: str, keys: Path) -> None:
        self.work, self.host, self.keys = work, host, keys
        self.list = work / "list.yaml"
        entries = "".join(
            f"  - ref: {host}/bench/app{number}:1\n    expect: {{signed-by: {keys}/cosign.pub, predicates: spdxjson}}\n"
            for number in range(8)
        )
        self.list.write_text(f"tidegate: 1\nimages:\n{entries}")
        self.low, self.high = work / "low", work / "high"
        run([TIDEGATE, "--root", str(self.low), *["init", "low", "--channel", "bench", "--site", "site"]])
        run([TIDEGATE, "--root", str(self.high), *["init", "high", "--site", "site"]])
        run([TIDEGATE, "--root", str(self.low), "keys", "export", str(work / "root")])
        shown = run([TIDEGATE, "--root", str(self.low), "keys", "show", "--json"]).result()
        words = shown["fingerprint"]
        run([TIDEGATE, "--root", str(self.high), "trust", "add", str(work / "root"), "--fingerprint", words])
        shutil.copytree(self.low, work / "low.new")
        shutil.copytree(self.high, work / "high.new")

    def fresh(self, name: str) -> Path:
        shutil.rmtree(self.work / name, ignore_errors=True)
        (self.work / name).mkdir()
        return self.work / name

    def again(self, name: str, kept: str) -> None:
        shutil.rmtree(self.work / name, ignore_errors=True)
        shutil.copytree(self.work / kept, self.work / name, symlinks=True)

    def sync(self, env: dict[str, str] | None = NO_SYNC) -> Run:
        self.again("low", "low.new")
        stick = self.fresh("stick")
        return run(f"{TIDEGATE} --root {self.low} -q sync {self.list} --to {stick} --no-read-back", env=env)

    def sync_synced(self) -> Run:
        """As it is used, where each step is on the disk before the next; no peer does that."""
        return self.sync(env=None)

    def pack(self) -> Run:
        """The peak is that of the first, which collects and packs."""
        self.again("low", "low.new")
        stick = self.fresh("stick")
        ours = f"{TIDEGATE} --root {self.low}"
        packed = run(f"{ours} -q pack {self.list}", env=NO_SYNC)
        sent = run(f"{ours} -q send 1 {stick} --no-read-back", env=NO_SYNC)
        return Run(packed.seconds + sent.seconds, packed.peak_mib, "")

    def crane_pull(self) -> Run:
        images = " ".join(f"{self.host}/bench/app{number}:1" for number in range(8))
        return run(f"{tool('crane')} pull {images} {self.fresh('crane')}/images.tar")

    def skopeo_pull(self) -> Run:
        one = f"{tool('skopeo')} --insecure-policy copy -q --all --src-tls-verify=false"
        out = self.fresh("skopeo")
        return run(" && ".join(f"{one} docker://{self.host}/bench/app{n}:1 oci:{out}:app{n}" for n in range(8)))

    def regctl_pull(self) -> Run:
        one = f"{tool('regctl')} image copy --host reg={self.host},tls=disabled --referrers --digest-tags"
        out = self.fresh("regctl")
        copies = (f"{one} {self.host}/bench/app{n}:1 ocidir://{out}:app{n} >/dev/null" for n in range(8))
        return run(" && ".join(copies))

    def receive(self) -> None:
        """The bundle waits, approved, in quarantine; kept so that each round starts there."""
        run([TIDEGATE, "--root", str(self.high), "-q", "receive", str(self.work / "stick")])
        shutil.copytree(self.high, self.work / "high.kept", symlinks=True)
        for number in range(8):
            where = f"{self.host}/bench/app{number}:1"
            run([tool("crane"), "pull", "--format=oci", where, f"{self.work}/crane{number}"])

    def load(self) -> Run:
        self.again("high", "high.kept")
        with registry(self.fresh("target")) as host:
            return run([TIDEGATE, "--root", str(self.high), "-q", "load", "1", "--to", host], env=NO_SYNC)

    def crane_push(self) -> Run:
        with registry(self.fresh("target")) as host:
            one = f"{tool('crane')} push --index"
            return run(
                " && ".join(f"{one} {self.work}/crane{n} {host}/bench/app{n}:1 >/dev/null 2>&1" for n in range(8))
            )

    def skopeo_push(self) -> Run:
        one = f"{tool('skopeo')} --insecure-policy copy -q --all --dest-tls-verify=false"
        with registry(self.fresh("target")) as host:
            source = f"oci:{self.work}/skopeo"
            return run(" && ".join(f"{one} {source}:app{n} docker://{host}/bench/app{n}:1" for n in range(8)))

    def regctl_push(self) -> Run:
        with registry(self.fresh("target")) as host:
            one = f"{tool('regctl')} image copy --host reg={host},tls=disabled --referrers --digest-tags"
            source = f"ocidir://{self.work}/regctl"
            return run(" && ".join(f"{one} {source}:app{n} {host}/bench/app{n}:1 >/dev/null" for n in range(8)))


def table(ours: Series, peers: list[Series], limit: float) -> None:
    print("| | seconds | peak MiB | ours takes × its time | target |\n| --- | --- | --- | --- | --- |")
    print(f"| {ours.name} | {ours.seconds:.2f} | {ours.peak_mib:.0f} | | |")
    for peer in peers:
        times = 1 / ratio(ours, peer)
        if peer.name in OURS:
            print(f"| {peer.name} | {peer.seconds:.2f} | {peer.peak_mib:.0f} | {times:.2f} | |")
            continue
        bound = limit if peer.name.startswith("crane") else 1.0
        verdict = "met" if times <= bound else "missed"
        print(f"| {peer.name} | {peer.seconds:.2f} | {peer.peak_mib:.0f} | {times:.2f} | ≤ {bound}: {verdict} |")
    measured = next((peer for peer in peers if peer.name == TWO_COMMANDS), ours)
    held = "met" if measured.peak_mib <= 150 else "missed"
    which = "collect and pack" if measured is not ours else ours.name
    print(f"\nMemory of {which}: {measured.peak_mib:.0f} MiB; target ≤ 150: {held}\n")


def sizes_of(layout: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (layout / "blobs" / "sha256").iterdir()}


def second_transfer(bench: Bench, layout: Path, share: int) -> None:
    """A rebuild of 3 of 12 layers after the first bundle was sent, and then nothing at all."""
    ours = [TIDEGATE, "--root", str(bench.low)]
    changed = layout.with_name("rebuilt")
    make_images(changed, share, REBUILT)
    fill(changed, bench.host, bench.keys)
    packed = run([*ours, "pack", str(bench.list), "--since", "1", "--json"]).result()
    names = [
        {path.name: path.stat().st_size for path in (one / "blobs" / "sha256").iterdir()} for one in (layout, changed)
    ]
    new = sum(size for name, size in names[1].items() if name not in names[0])
    more = packed["size"] / new - 1
    sizes = f"{packed['size'] / MIB:.2f} MiB for {new / MIB:.2f} MiB"
    print(f"Second transfer, 3 of 12 layers rebuilt and signed again: {sizes}")
    print(f"of changed blobs, {more * 100:+.2f} %; target ≤ +1 %: {'met' if more <= 0.01 else 'missed'}.")
    run([*ours, "-q", "send", "2", str(bench.fresh("stick"))])
    nothing = run([*ours, "pack", str(bench.list), "--json"]).result()
    print(f"Nothing changed: {nothing['outcome']}.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    share = 20 if options.small else 1
    work = scratch()
    try:
        make_keys(work / "keys")
        # In a process of its own: the kernel counts what a parent had in memory for each child that it starts.
        code = f"import images, pathlib; images.make_images(pathlib.Path({str(work / 'layout')!r}), {share})"
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
        with registry(work / "source") as host:
            fill(work / "layout", host, work / "keys")
            bench = Bench(work, host, work / "keys")
            print(f"{machine()}; {options.rounds} rounds{', a twentieth of the size' if options.small else ''}.\n")
            print("### Registry to signed and protected volume files; crane: to an unsigned tar\n")
            rows = {"tidegate sync --to": bench.sync, "crane pull": bench.crane_pull}
            rows |= {"skopeo copy": bench.skopeo_pull, "regctl image copy": bench.regctl_pull}
            rows |= {TWO_COMMANDS: bench.pack, SYNCED: bench.sync_synced}
            ours, *peers = in_turn(options.rounds, rows).values()
            table(ours, peers, 1.5)
            bench.receive()
            print("### Approved bundle to the last digest read back, in a fresh registry\n")
            rows = {"tidegate load": bench.load, "crane push": bench.crane_push}
            rows |= {"skopeo copy": bench.skopeo_push, "regctl image copy": bench.regctl_push}
            ours, *peers = in_turn(options.rounds, rows).values()
            table(ours, peers, 1.0)
            second_transfer(bench, work / "layout", share)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
