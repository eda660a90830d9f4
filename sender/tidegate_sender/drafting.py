"""Write a first transfer list: what manifests, charts or a running cluster need, for a person to look over."""

import json
from pathlib import Path

from tidegate.text import printable
from tidegate.wanted import Wanted

_HEAD = '# Written by "tidegate draft": look it over, then "tidegate plan" it.\n'


def format_draft(wanted: Wanted, base: Path) -> str:
    """The YAML of a list; charts by their path as seen from the folder `base`. Equal needs give equal text."""
    lines = [_HEAD + "tidegate: 1"]
    if wanted.images.references:
        lines += ["images:", *(f"  - {_scalar(reference)}" for reference in wanted.images.references)]
    if wanted.charts:
        paths = sorted({_relative(chart.path, base) for chart in wanted.charts})
        lines += ["charts:", *(f"  - {_scalar(path)}" for path in paths)]
    lines += [f"# not understood: {printable(text, 300)}" for text in wanted.images.unresolved]
    return "\n".join(lines) + "\n"


def _relative(path: Path, base: Path) -> str:
    try:
        text = str(path.absolute().relative_to(base.absolute()))
    except ValueError:
        return str(path.absolute())
    return f"./{text}"


def _scalar(text: str) -> str:
    """As YAML reads it back: quoted where it is not plainly a text."""
    plain = text and all(c.isascii() and (c.isalnum() or c in "./:@_-+") for c in text) and text[0].isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)
