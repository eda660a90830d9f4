"""``one_layer_image.py SEED BYTES REFERENCE``: push an image of one layer, the same bytes for a seed."""

import random
import sys
import tempfile
from pathlib import Path

from images import Layout, push_by_skopeo


def main(seed: str, size: str, reference: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name) / "layout")
        layout.tag(layout.image([{"app.bin": random.Random(seed).randbytes(int(size))}]), "made")
        push_by_skopeo(layout.folder, "made", reference)


if __name__ == "__main__":
    main(*sys.argv[1:])
