"""Moved: tidegate.media.mounts. This name goes away when nothing imports it."""

from tidegate.media.mounts import *  # noqa: F403
