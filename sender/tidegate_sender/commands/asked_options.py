"""What a person asks for, as ``pack`` and ``plan`` both take it: what is wanted, and what of it is left out."""

from collections.abc import Callable
from typing import Any

import click


def asked_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``IMAGE|./FOLDER|LIST.yaml... --platform --since --full``."""
    for add in (
        click.option("--full", is_flag=True, help="Bring everything, also what slips have confirmed."),
        click.option(
            "--since", metavar="BUNDLE", help="Leave out what this bundle and those it builds on have brought."
        ),
        click.option(
            "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Only these platforms; repeatable."
        ),
        click.argument("what", metavar="IMAGE|./FOLDER|LIST.yaml...", nargs=-1, required=True),
    ):
        function = add(function)
    return function
