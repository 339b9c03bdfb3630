"""The start page in a browser: it looks like something, complains of nothing and loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.company.environments import tool
from tests.fakes.provider import FakeProvider, whole
from tests.process.conftest import Start

pytestmark = pytest.mark.slow

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what it asks on its own goes nowhere
)


@dataclass(frozen=True, slots=True)
class Visit:
    """`complaints` are lines of the console, `loaded` the addresses that the page asked for, `picture` is a PNG."""

    complaints: list[str]
    loaded: set[str]
    picture: bytes

    @property
    def shades(self) -> int:
        """How many different bytes the picture is made of: an empty page has hardly any."""
        data, at = b"", 8
        while at < len(self.picture):
            length, kind = int.from_bytes(self.picture[at : at + 4]), self.picture[at + 4 : at + 8]
            data += self.picture[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
            at += length + 12
        return len(set(zlib.decompress(data)))


LookAt = Callable[[str], Awaitable[Visit]]


@pytest.fixture
def look_at(tmp_path: Path) -> LookAt:
    """`await look_at(url)` in a new browser of its own."""
    chromium = tool("chromium", "chromium-browser", "google-chrome")

    async def look(url: str) -> Visit:
        picture, events = tmp_path / "page.png", tmp_path / "events.json"
        files = f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", f"--log-net-log={events}"
        process = await asyncio.create_subprocess_exec(
            *(chromium, *FLAGS, *files, url),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(120):
                _, said = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert picture.is_file(), said.decode()
        complaints = [line for line in said.decode(errors="replace").splitlines() if ":CONSOLE" in line]
        return Visit(complaints, loaded(json.loads(events.read_bytes()), url), picture.read_bytes())

    return look


def loaded(log: Mapping[str, Any], url: str) -> set[str]:
    """The addresses asked for on behalf of the page at this address; the rest is the browser's own business."""
    page = url.rsplit(":", 1)[0]  # a site has no port there
    requests = [event["params"] for event in log["events"] if "url" in event.get("params", {})]
    return {request["url"] for request in requests if request.get("network_isolation_key", "").startswith(page)}


async def test_a_page_with_faults_is_seen_through(look_at: LookAt, provider: FakeProvider) -> None:
    page = b"<!doctype html><img hidden src='http://elsewhere.invalid/a.png'><script>console.error('it broke')</script>"
    provider.will(whole(page, headers={"Content-Type": "text/html"}))
    visit = await look_at(f"{provider.url}/page")
    assert any("it broke" in line for line in visit.complaints)
    assert visit.loaded >= {f"{provider.url}/page", "http://elsewhere.invalid/a.png"}
    assert visit.shades < 10


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
async def test_the_start_page_is_whole_without_anything_from_elsewhere(
    look_at: LookAt, start: Start, environ: Mapping[str, str], keys: bool
) -> None:
    proxy = await start(environ=environ if keys else {})
    page = f"http://127.0.0.1:{proxy.port}/ui/"
    visit = await look_at(page)
    assert visit.complaints == []
    assert visit.loaded == {page}
    assert visit.shades > 50
