"""Long operations and how far each has come, so that a killed one goes on where it was."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tidegate import clock
from tidegate.errors import StateError
from tidegate.state.db import Transaction


class JobState(StrEnum):
    """RUNNING also says "was running when the machine stopped": the step is done again."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobRow:
    """One operation of `kind` (a verb) on `subject` (a bundle, a medium). Times are seconds since 1970."""

    id: int
    kind: str
    subject: str
    step: str
    state: JobState
    started: int
    updated: int
    cursor: dict[str, Any] = field(default_factory=dict)


_COLUMNS = "id, kind, subject, step, state, started, updated, cursor"


def begin_job(tx: Transaction, kind: str, subject: str, *, step: str = "") -> JobRow:
    """The running job of this kind and subject: the one that was left, or a new one."""
    running = find_job(tx, kind, subject)
    if running is not None:
        return running
    now = clock.now()
    rows = tx.execute(
        "INSERT INTO jobs (kind, subject, step, cursor, state, started, updated) VALUES (?, ?, ?, '{}', ?, ?, ?)"
        f" RETURNING {_COLUMNS}",
        (kind, subject, step, JobState.RUNNING, now, now),
    )
    return _from_columns(rows[0])


def find_job(tx: Transaction, kind: str, subject: str) -> JobRow | None:
    """The running job of this kind and subject."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM jobs WHERE kind = ? AND subject = ? AND state = 'running'", (kind, subject)
    )
    return _from_columns(rows[0]) if rows else None


def advance_job(tx: Transaction, job_id: int, *, step: str, cursor: dict[str, Any] | None = None) -> None:
    """Note how far a job has come: everything before `step` and `cursor` is done and on the disk."""
    tx.execute(
        "UPDATE jobs SET step = ?, cursor = ?, updated = ? WHERE id = ?",
        (step, json.dumps(cursor or {}), clock.now(), job_id),
    )


def end_job(tx: Transaction, job_id: int, state: JobState = JobState.DONE) -> None:
    tx.execute("UPDATE jobs SET state = ?, updated = ? WHERE id = ?", (state, clock.now(), job_id))


def list_jobs(tx: Transaction, *, state: JobState | None = JobState.RUNNING) -> tuple[JobRow, ...]:
    """Jobs in the order they were begun; the running ones, or all with ``state=None``."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM jobs WHERE ? IS NULL OR state = ? ORDER BY id", (state, state))
    return tuple(_from_columns(row) for row in rows)


def _from_columns(columns: tuple[Any, ...]) -> JobRow:
    *facts, cursor = columns
    job_id, kind, subject, step, state, started, updated = facts
    try:
        return JobRow(job_id, kind, subject, step, JobState(state), started, updated, json.loads(cursor))
    except ValueError as error:
        raise StateError(f"job {job_id}: its row contradicts itself: {error}") from None
