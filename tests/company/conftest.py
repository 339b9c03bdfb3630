"""Callers that are not ours: each one a process, in front of the proxy as a process."""

from __future__ import annotations

from tests.process.conftest import start

__all__ = ["start"]
