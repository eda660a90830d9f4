"""How far a set of volumes is written, remembered from one medium to the next: a row of the state's jobs.

A set is begun with the first medium, tomorrow's `send` finds it, and it is done when its last volume is written. Done
sets stay known, so that a volume that was lost can be written once more, byte for byte the same.
"""

from dataclasses import asdict, dataclass

from tidegate.errors import StateError
from tidegate.state.db import Transaction
from tidegate.state.jobs import JobRow, JobState, advance_job, begin_job, end_job, list_jobs
from tidegate_sender.sets.plan import SetShape, SetVolume

JOB_KIND = "send-set"


@dataclass(frozen=True, slots=True)
class SetProgress:
    """One set: its shape, the volumes that are written, in the order of their numbers."""

    job: int
    state: JobState
    shape: SetShape
    written: tuple[SetVolume, ...]

    @property
    def is_running(self) -> bool:
        return self.state is JobState.RUNNING

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(volume.number for volume in self.written)

    @property
    def next_number(self) -> int:
        """The lowest number that is not written."""
        return next(number for number in range(1, len(self.written) + 2) if number not in self.numbers)

    @property
    def next_group(self) -> int:
        """Where the next volume of a sequential set begins."""
        return max((volume.end for volume in self.written), default=0)

    def completed_by(self, volume: SetVolume) -> bool:
        """Whether the set is whole with `volume`."""
        if self.shape.volumes is None:
            return volume.is_last
        return len({*self.numbers, volume.number}) == self.shape.volumes


def find_set(tx: Transaction, bundle_id: str) -> SetProgress | None:
    """The newest set of a bundle, under way or done; None where there is none, or it was given up."""
    rows = [row for row in list_jobs(tx, state=None) if (row.kind, row.subject) == (JOB_KIND, bundle_id)]
    return _progress(rows[-1]) if rows and rows[-1].state is not JobState.FAILED else None


def begin_set(tx: Transaction, bundle_id: str, shape: SetShape) -> SetProgress:
    job = begin_job(tx, JOB_KIND, bundle_id)
    made = SetProgress(job.id, JobState.RUNNING, shape, ())
    _save(tx, made)
    return made


def note_volume(tx: Transaction, progress: SetProgress, volume: SetVolume) -> SetProgress:
    """`volume` is written and read back; the set is done when it was the last one that was missing."""
    others = tuple(item for item in progress.written if item.number != volume.number)
    written = tuple(sorted((*others, volume), key=lambda item: item.number))
    state = JobState.DONE if progress.completed_by(volume) else progress.state
    made = SetProgress(progress.job, state, progress.shape, written)
    _save(tx, made)
    if state is JobState.DONE:
        end_job(tx, progress.job)
    return made


def give_up_set(tx: Transaction, progress: SetProgress) -> None:
    """Forget a set: the next `send` begins another."""
    end_job(tx, progress.job, JobState.FAILED)


def _save(tx: Transaction, progress: SetProgress) -> None:
    volumes = [asdict(volume) for volume in progress.written]
    cursor = {"shape": asdict(progress.shape), "written": volumes}
    advance_job(tx, progress.job, step=f"volume {len(volumes)}", cursor=cursor)


def _progress(row: JobRow) -> SetProgress:
    try:
        shape = SetShape(**row.cursor["shape"])
        return SetProgress(row.id, row.state, shape, tuple(SetVolume(**item) for item in row.cursor["written"]))
    except (KeyError, TypeError) as error:
        raise StateError(f"job {row.id}: its row is not of a set: {error}") from None
