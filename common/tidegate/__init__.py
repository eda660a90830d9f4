"""Tidegate: one-way transfer of software. This package is the shared ground of both sides."""

__version__ = "0.1.0"
