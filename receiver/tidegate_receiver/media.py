"""Moved: tidegate.media.plugged. This name goes away when nothing imports it."""

from tidegate.media.plugged import *  # noqa: F403
