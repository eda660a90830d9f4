"""A change of trust is in the ledger before it is made."""

from pathlib import Path

import pytest

from tidegate.config import Role
from tidegate.errors import TrustError
from tidegate.initialisation import initialise
from tidegate.ledger.listing import list_recorded
from tidegate.pinning import recorded_change
from tidegate.workspace import Workspace


@pytest.fixture
def high(tmp_path: Path) -> Workspace:
    initialise(tmp_path, Role.HIGH, sites=("plant-7",), holder="ann", passphrase=None)
    return Workspace.open(tmp_path)


def outcomes(high: Workspace) -> list[str]:
    entries = list_recorded(high.folder("ledger"), event="trust-change")
    return [item.text("outcome") for item in entries]


def test_a_change_of_trust_is_recorded_before_it_is_made_and_after_it(high: Workspace) -> None:
    with recorded_change(high, "ab" * 32, "trust-add", "channel plant pinned"):
        assert outcomes(high) == ["begun"]
    assert outcomes(high) == ["begun", "done"]


def test_a_change_of_trust_that_fails_is_recorded_as_failed(high: Workspace) -> None:
    with pytest.raises(TrustError), recorded_change(high, "ab" * 32, "trust-add", "channel plant pinned"):
        raise TrustError("no")
    assert outcomes(high) == ["begun", "failed"]
