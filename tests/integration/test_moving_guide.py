"""docs/guides/moving.md, run as it stands there: files are written, lines typed, with real registries behind."""

import os
import re
import subprocess
from pathlib import Path

from content import add_image, tar_of
from registry import running_registry
from two_sides import Sides, tidegate_command

from tidegate.depot.store import Depot
from tidegate.registry.client import RegistryClient
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "moving.md").read_text()


def test_the_guide_holds_as_written(sides: Sides, tmp_path: Path) -> None:
    folder = tmp_path / "typed"
    folder.mkdir()
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "inside") as inside:
        source = Depot(tmp_path / "source")
        for name in ("team/web:1", "team/db:2"):
            root = add_image(source, [tar_of({"name": name.encode()})])
            RegistryLoader(source, up).load(LoadItem(f"{up}/{name}", "image", name, root))
        names = {"registry.example:5000": up, "inside.example:5000": inside, "/media/stick": str(sides.stick)}
        typed = 0
        for head, body in re.findall(r"^```([^\n]*)\n(.*?)^```$", _with(GUIDE, names), re.MULTILINE | re.DOTALL):
            if head.startswith("text "):
                (folder / head.removeprefix("text ")).write_text(body)
                continue
            for side, line in re.findall(r"^(low|high)\$ tidegate (.*)$", body, re.MULTILINE):
                root = sides.low.root if side == "low" else sides.high.root
                done = subprocess.run(
                    [*tidegate_command(), *line.split()],
                    check=False,
                    cwd=folder,
                    env={**os.environ, "TIDEGATE_ROOT": str(root)},
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                assert done.returncode == 0, (line, done.stdout, done.stderr)
                typed += 1
        assert typed >= 20
        client = RegistryClient(inside)
        for prefix in ("mirror", "direct"):
            assert client.manifest_digest(f"{prefix}/team/web", "1")
            assert client.manifest_digest(f"{prefix}/team/db", "2")
    assert f'prefix = "{up}/team/web"' in (folder / "registries.conf").read_text()


def _with(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text
