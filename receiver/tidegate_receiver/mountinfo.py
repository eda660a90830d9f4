"""Moved: tidegate.media.mountinfo. This name goes away when nothing imports it."""

from tidegate.media.mountinfo import *  # noqa: F403
