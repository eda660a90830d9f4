"""One family of errors: what happened, in which object, what to do next, and an exit code that stays.

A class exists for each thing that a person would handle differently. The catalogue of exit codes
(docs/operating/exit-codes.md) is checked against this package by a test. Rooms raise these
classes; nothing else may leave a parser of outside bytes.

A module for each range: 1 unexpected, 2 usage, 3 partial (`base`), 4-19 `low_side`, 20-29 `media`, 30-49 a bundle is
refused (`refusals`), 50-59 `high_side`, 60-69 `ledger`, 70-79 `host`, 80-89 `trust`, 90-99 return `slip`. All classes
are imported from here.
"""

from tidegate.errors.base import *
from tidegate.errors.high_side import *
from tidegate.errors.host import *
from tidegate.errors.ledger import *
from tidegate.errors.low_side import *
from tidegate.errors.media import *
from tidegate.errors.refusals import *
from tidegate.errors.slip import *
from tidegate.errors.trust import *
