"""Which images a chart needs: what ``helm template`` renders where helm is here, else what the chart says of itself.

Without helm: the annotation ``artifacthub.io/images``, the image fields of values.yaml, and image fields of templates
that are plain text. What none of them resolves is listed by its place; nobody is told that a guess is complete.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.charts.archive import Chart
from tidegate.errors import FormatError, UsageError
from tidegate.registry.reference import parse_reference
from tidegate.text import printable
from tidegate.units import MIB
from tidegate.workloads import FoundImages, find_images, image_of_parts
from tidegate.yaml_reading import read_document, read_documents

IMAGES_ANNOTATION = "artifacthub.io/images"
HELM_SECONDS = 120
_RENDERED_MAX = 64 * MIB
_IMAGE_LINE = re.compile(r"^\s*(?:-\s+)?image:\s*(\S.*?)\s*$")
_ERROR_MAX = 300


def find_chart_images(chart: Chart, content: bytes, values: tuple[Path, ...] = ()) -> FoundImages:
    """The images of `chart`, whose .tgz is `content`; `values` are files that override its own values."""
    helm = shutil.which("helm")
    if helm is None:
        return _without_helm(chart, "helm is not installed here")
    try:
        rendered = _render(helm, content, values)
        return find_images(read_documents(rendered, chart.metadata.file_name, max_bytes=_RENDERED_MAX), "rendered")
    except FormatError as error:
        return _without_helm(chart, error.message)


def _render(helm: str, content: bytes, values: tuple[Path, ...]) -> bytes:
    """What `helm template` prints; settings, plugins and repositories are kept out of it. Raises FormatError."""
    with tempfile.TemporaryDirectory(prefix="tidegate-chart-") as folder:
        chart = Path(folder) / "chart.tgz"
        chart.write_bytes(content)
        rendered, errors = Path(folder) / "rendered", Path(folder) / "errors"
        options = [part for path in values for part in ("--values", str(path.absolute()))]
        command = [helm, "template", "release", str(chart), "--include-crds", "--skip-tests", *options]
        environment = {"HOME": folder, "PATH": "/usr/bin:/bin", "HELM_CACHE_HOME": folder, "HELM_CONFIG_HOME": folder}
        try:
            with open(rendered, "wb") as out, open(errors, "wb") as err:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=folder,
                    timeout=HELM_SECONDS, check=False,
                )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FormatError(f"helm template: {error}") from None
        if done.returncode != 0:
            with open(errors, "rb") as file:
                text = " ".join(file.read(4096).decode("utf-8", "replace").split())
            raise FormatError(f"helm template: {printable(text, _ERROR_MAX)}")
        with open(rendered, "rb") as file:
            return file.read(_RENDERED_MAX + 1)


def _without_helm(chart: Chart, reason: str) -> FoundImages:
    annotated = _annotated(chart)
    if annotated is not None:
        return annotated
    references: set[str] = set()
    unresolved: set[str] = set()
    for place, text in (*_in_values(chart), *_in_templates(chart)):
        try:
            references.add(str(parse_reference(text)))
        except UsageError:
            if not _is_value_of_values(text):
                unresolved.add(f"{place}: {printable(text, 200)}")
    templated = [place for place, text in _in_templates(chart) if "{{" in text]
    if templated and not references:
        unresolved.update(f"{place}: its image comes from values" for place in templated)
    elif templated:
        unresolved.add(f"{len(templated)} templates take images from values; what values.yaml names was taken")
    return FoundImages(tuple(sorted(references)), (*sorted(unresolved), *((reason,) if unresolved else ())))


def _is_value_of_values(text: str) -> bool:
    return "{{" in text


def _annotated(chart: Chart) -> FoundImages | None:
    text = chart.metadata.annotations.get(IMAGES_ANNOTATION)
    if text is None:
        return None
    try:
        listed = read_document(text.encode(), IMAGES_ANNOTATION, texts=True)
    except FormatError as error:
        return FoundImages((), (error.message,))
    named = [item.get("image") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return find_images(tuple({"image": image} for image in named if isinstance(image, str)), IMAGES_ANNOTATION)


def _in_values(chart: Chart) -> list[tuple[str, str]]:
    try:
        values = read_document(chart.values, "values.yaml", texts=True) if chart.values else None
    except FormatError as error:
        return [(error.message, "values.yaml")]
    return [(f"values.yaml: {'.'.join(path)}", text) for path, text in _fields(values, (), chart.metadata.app_version)]


def _fields(value: Any, path: tuple[str, ...], default_tag: str) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(path) > 32 or not isinstance(value, dict):
        return
    text = image_of_parts(value, default_tag)
    if text and (not path or path[-1].lower().endswith("image") or "tag" in value or "digest" in value):
        yield path, text
    for key, item in value.items():
        if key.lower().endswith("image") and isinstance(item, str) and item:
            yield (*path, key), item
        else:
            yield from _fields(item, (*path, str(key)), default_tag)


def _in_templates(chart: Chart) -> list[tuple[str, str]]:
    found = []
    for path, data in sorted(chart.templates.items()):
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            match = _IMAGE_LINE.match(line)
            if match:
                found.append((f"{path}:{number}", match[1].strip("\"'")))
    return found
