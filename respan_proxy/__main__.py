"""`python -m respan_proxy`, which is the command `respan-proxy`."""

from __future__ import annotations

from respan_proxy.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
