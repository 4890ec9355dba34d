"""How a command ends when something went wrong."""

from __future__ import annotations


class CommandFailed(Exception):
    """One line for standard error. The exit status is 1."""
