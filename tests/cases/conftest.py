"""The relay's own fixtures: a client that changes nothing, and how a row is read back."""

from tests.relay.conftest import client, finished, row_of

__all__ = ["client", "finished", "row_of"]
