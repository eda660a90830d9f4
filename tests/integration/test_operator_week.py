"""docs/operating/operator.md, followed from the first line to the last: real sticks (ext4 on loop devices), a registry.

``python tests/integration/test_operator_week.py`` follows it and writes down what is answered now.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from followed import Follower, Step, steps_of
from registry import free_port, running_registry

pytestmark = pytest.mark.system
DOCUMENT = Path(__file__).parents[2] / "docs" / "operating" / "operator.md"
PRELUDE = f"""
export PATH={sysconfig.get_path("scripts")}:$PATH
stick() {{ truncate -s $2 $FOLDER/$1.img; mkfs.ext4 -q -m 0 $FOLDER/$1.img; mkdir -p $FOLDER/media/$1; plug $1; }}
plug() {{ mount -o loop,rw $FOLDER/$1.img $FOLDER/media/$1; }}
unplug() {{ umount $FOLDER/media/$1; }}
write_protect() {{ mount -o remount,ro $FOLDER/media/$1; }}
noise() {{ openssl enc -aes-128-ctr -nosalt -pass pass:$1 </dev/zero 2>/dev/null | head -c $2 >$3; }}
image() {{ python3 {Path(__file__).parents[1] / "support" / "one_layer_image.py"} $1 $2 $3; }}
hole() {{ dd if=/dev/zero of=$1 bs=64K seek=$2 count=$3 conv=notrunc status=none; sync; }}
"""


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    needed = [name for name in ("mkfs.ext4", "losetup", "skopeo", "openssl", "curl") if shutil.which(name) is None]
    if needed:
        pytest.skip(f"needs {', '.join(needed)}: sh tests/system-packages.sh")
    with Following(tmp_path) as made:
        if not _can_mount(made):
            pytest.skip("needs root and loop devices")
        yield made


class Following:
    """A registry, ports and a folder for the week; nothing stays mounted or running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = running_registry(folder / "registry")

    def __enter__(self) -> Follower:
        names = {
            "/media/": f"{self.folder}/media/",
            "/dev/sdb": f"{self.folder}/f.img",
            "localhost:5000": self.registry.__enter__(),
            "127.0.0.1:8600": f"127.0.0.1:{free_port()}",
            "/srv/tidegate/": f"{self.folder}/",
        }
        return Follower(self.folder, PRELUDE, names)

    def __exit__(self, *_: object) -> None:
        for image in sorted((self.folder / "media").glob("*")):
            subprocess.run(["umount", image], check=False, capture_output=True)
        served = self.folder / "serve.pid"
        if served.is_file():
            subprocess.run(["kill", served.read_text().strip()], check=False, capture_output=True)
        self.registry.__exit__(None, None, None)


def _can_mount(follower: Follower) -> bool:
    try:
        follower.run(Step("", "stick try 2M; unplug try; rm $FOLDER/try.img"))
    except AssertionError:
        return False
    return True


def _name_channel(follower: Follower) -> None:
    """The document's channel is 7f3a; the one here got its id when it was made."""
    if follower.prefix or not (follower.folder / "low" / "tidegate.toml").is_file():
        return
    shown = follower.run(Step("low", "tidegate keys show --json"))[-1]
    follower.prefix = json.loads(shown)["id"][:4]


def test_the_week_of_an_operator_is_as_the_document_says(follower: Follower) -> None:
    steps = tuple(steps_of(DOCUMENT.read_text()))
    assert len(steps) > 60
    for step in steps:
        follower.check(step)
        _name_channel(follower)


def _write_down(folder: Path) -> None:
    """Follow the document, and put in what is answered wherever that is not what it says."""
    text, parts, end = DOCUMENT.read_text(), [], 0
    with Following(folder) as follower:
        for step in steps_of(text):
            lines = follower.run(step)
            if not follower.fits(step, lines):
                parts += [text[end : step.span[0]], "".join(f"{line}\n" for line in lines)]
                end = step.span[1]
            _name_channel(follower)
    DOCUMENT.write_text("".join(parts) + text[end:])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="week-", dir=os.environ.get("TMPDIR")) as name:
        _write_down(Path(name))
