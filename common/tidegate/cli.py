"""The command `tidegate`."""


def main() -> None:
    """Entry point."""
