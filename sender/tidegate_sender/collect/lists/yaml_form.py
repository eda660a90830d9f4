"""Hold a YAML document to a published JSON schema: every fault named with file, line, column and field, all at once."""

import json
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tidegate.errors import UsageError
from tidegate_sender.collect.lists.yaml_places import Document

if TYPE_CHECKING:
    from jsonschema import ValidationError

_FAULTS_MAX = 20


@lru_cache(maxsize=4)
def published_form(file_name: str) -> dict[str, Any]:
    """A JSON schema that is published beside this module."""
    text = resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def check_document(document: Document, form: dict[str, Any]) -> None:
    """Hold `document` to the JSON schema `form`. Raises UsageError naming every fault."""
    faults = [text for _place, text in sorted(_faults(document, form))]
    if faults:
        more = [f"{document.name}: and {len(faults) - _FAULTS_MAX} faults more"] if len(faults) > _FAULTS_MAX else []
        raise UsageError("\n".join(faults[:_FAULTS_MAX] + more))


def _faults(document: Document, form: dict[str, Any]) -> Iterator[tuple[tuple[int, int], str]]:
    """Every fault with its (line, column)."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(form).iter_errors(document.value):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            yield from _unknown_fields(error, path, document)
        else:
            yield document.at(path), f"{document.place(path)}: {field_text(path)}: {_wrong(error)}"


def _unknown_fields(
    error: "ValidationError", path: tuple[str | int, ...], document: Document
) -> Iterator[tuple[tuple[int, int], str]]:
    """The fields that the schema does not know, each with what was probably meant."""
    import difflib

    known = list(error.schema["properties"]) if isinstance(error.schema, dict) else []
    instance: Any = error.instance
    for name in instance:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"known here are {', '.join(known)}"
            place = document.place((*path, name), key=True)
            yield document.at((*path, name), key=True), f"{place}: {field_text((*path, name))}: unknown field; {meant}"


def _wrong(error: "ValidationError") -> str:
    value = json.dumps(error.instance, default=str, ensure_ascii=False)[:80]
    if error.validator == "type":
        wanted = {"string": "text", "array": "a list", "object": "a set of fields", "boolean": "true or false"}
        quotes = "; put it in quotes" if error.validator_value == "string" and not _is_nested(error.instance) else ""
        return f"{value} is not {wanted.get(str(error.validator_value), error.validator_value)}{quotes}"
    if error.validator == "required":
        return error.message.replace("is a required property", "is missing")
    if error.validator == "const":
        return f"{value} is a version that is not known here; this is version {error.validator_value}"
    if error.validator == "pattern":
        return f"{value} is {'no digest' if 'sha256' in str(error.validator_value) else 'not written like linux/amd64'}"
    return error.message[:200]


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict) or value is None


def field_text(path: tuple[str | int, ...]) -> str:
    """``images[3].ref``, counted from 1 as people do."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "top level"
