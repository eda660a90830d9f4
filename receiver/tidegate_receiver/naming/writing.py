"""YAML and TOML as the reports write them: the same values give the same bytes, all of it escaped."""

import json
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented, texts of several lines as they stand."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_block = "\n" in value and value.isascii()
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if is_block else None)


_Dumper.add_representer(str, _text)


def yaml_text(*documents: Any) -> str:
    """YAML documents, fields in the order given."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=10_000, explicit_start=len(documents) > 1)


def toml_text(value: str) -> str:
    """A TOML basic string: JSON's, but that U+007F is escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
