"""The catalogue of exit codes in docs/operating/exit-codes.md says what the error classes say."""

import re
from pathlib import Path

import tidegate.errors
from tidegate.errors import RegistryAuthError, TidegateError, reason_of

CATALOGUE = Path(__file__).parents[3] / "docs" / "operating" / "exit-codes.md"


def all_classes() -> list[type[TidegateError]]:
    return [
        item for item in vars(tidegate.errors).values() if isinstance(item, type) and issubclass(item, TidegateError)
    ]


def test_every_error_class_stands_in_the_catalogue_with_its_exit_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", CATALOGUE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {int(code): name for code, name in rows.items()} == {item.exit_code: item.__name__ for item in all_classes()}


def test_no_two_error_classes_share_an_exit_code() -> None:
    codes = [item.exit_code for item in all_classes()]
    assert len(codes) == len(set(codes))


def test_the_ledger_has_a_word_of_its_own_for_every_error_class() -> None:
    words = [reason_of(item("what happened")) for item in all_classes()]
    assert len(words) == len(set(words))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", word) for word in words)
    assert reason_of(RegistryAuthError("no")) == "registry-auth"


def test_every_error_class_says_what_happened() -> None:
    assert all((item.__doc__ or "").strip() for item in all_classes())
