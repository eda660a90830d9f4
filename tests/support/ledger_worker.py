"""A process that records entries, for tests that kill it: ``python ledger_worker.py ROOT COUNT DRAIN_EVERY``.

It prints each event id once the entry is committed, and "drained" after each drain that ended.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledgers import open_desk

from tidegate.errors import TidegateError


def main() -> int:
    root, count, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    try:
        with open_desk(root, wait_seconds=20) as desk:
            desk.recorder.check()
            for number in range(1, count + 1):
                print(*desk.queue(1, subject=f"worker-{sys.argv[4]}" if len(sys.argv) > 4 else "worker"), flush=True)
                if number % every == 0:
                    desk.recorder.drain()
                    print("drained", flush=True)
    except TidegateError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
