"""``send --label FILE``: a page for each stick that this call wrote; also what its writing made suspicious."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.report import Report

if TYPE_CHECKING:
    from tidegate.ledger.entries import Medium
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import Delivery


@dataclass(slots=True)
class LabelSheet:
    """The labels of one call of ``send``. `path` is None where none are wanted."""

    workspace: "Workspace"
    report: Report
    path: Path | None
    written: list[tuple["Medium", dict[str, Any]]] = field(default_factory=list)

    def add(self, delivery: "Delivery") -> None:
        """One more stick was written; what is suspicious about it is told."""
        for note in delivery.notes:
            self.report.warn(note)
        self.written.append((delivery.facts, delivery.carries))

    def print_labels(self) -> None:
        """Write the PDF, where one is wanted and something was written."""
        if self.path is None or not self.written:
            return
        from tidegate.media.labels import label_of_writing, write_labels

        # A set that was completed in this call is as long as its last stick says, for the earlier ones too.
        known = next((item["volumes"] for _, item in reversed(self.written) if item["volumes"]), None)
        labels = tuple(
            label_of_writing(self.workspace, facts, {**carries, "volumes": carries["volumes"] or known})
            for facts, carries in self.written
        )
        write_labels(self.path, labels)
        pages = "label" if len(labels) == 1 else f"{len(labels)} labels"
        self.report.line(f"{pages} written to {self.path}")
