"""Images by URL for Gemini, which takes bytes: fetched over real sockets, within limits, and never silently left out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from respan_proxy import images
from tests.conftest import Host, Proxy, StartProxy
from tests.fakes.provider import Act, Answer, FakeProvider, silent, streamed, whole

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
HERE = {"images": {"allow_private": True}}


@pytest.fixture
async def site(host: Host[FakeProvider]) -> FakeProvider:
    """A web server that has images."""
    return await host(FakeProvider())


@pytest.fixture
async def allowing(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    return await start_proxy(HERE, environ)


def image(data: bytes = PNG, media_type: str = "image/png") -> Answer:
    return whole(data, headers={"Content-Type": media_type})


def moved(to: str) -> Answer:
    return whole(b"", 302, {"Location": to})


async def ask(proxy: Proxy, *urls: str, model: str = "gemini-2.5-flash", stream: bool = False) -> tuple[int, dict[str, Any]]:
    parts = [{"type": "text", "text": "what is this?"}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
    asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": parts}]}
    async with aiohttp.ClientSession() as session, session.post(f"{proxy.base}/chat/completions", json=asked) as response:
        return response.status, {} if stream else await response.json()


async def refusal(proxy: Proxy, url: str) -> str:
    status, told = await ask(proxy, url)
    assert (status, told["error"]["code"]) == (400, "invalid_image_url")
    assert told["error"]["param"].startswith("messages[0]")
    message: str = told["error"]["message"]
    assert "secret" not in message
    return message


def parts_sent(provider: FakeProvider) -> list[dict[str, Any]]:
    return [part for content in provider.last.json["contents"] for part in content["parts"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_gemini_gets_the_bytes_and_their_type(allowing: Proxy, provider: FakeProvider, site: FakeProvider, stream: bool) -> None:
    site.will(image(media_type="text/html"))
    status, _ = await ask(allowing, f"{site.url}/cat.jpg?token=secret%2Fsauce", stream=stream)
    assert status == 200
    assert parts_sent(provider)[1] == {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}
    assert site.last.target == "/cat.jpg?token=secret%2Fsauce", "a signed URL is asked for as it is written"


async def test_an_image_that_is_shown_twice_is_fetched_once(allowing: Proxy, provider: FakeProvider, site: FakeProvider) -> None:
    site.will(image())
    status, _ = await ask(allowing, f"{site.url}/a", f"{site.url}/a")
    assert (status, len(site.received)) == (200, 1)
    assert [list(part) for part in parts_sent(provider)] == [["text"], ["inlineData"], ["inlineData"]]


async def test_claude_s_tool_results_have_their_images_fetched_too(allowing: Proxy, provider: FakeProvider, site: FakeProvider) -> None:
    site.will(image())
    shown = {"type": "image", "source": {"type": "url", "url": f"{site.url}/a"}}
    asked = {
        "model": "gemini-2.5-flash",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [shown]}]},
        ],
    }
    async with aiohttp.ClientSession() as session, session.post(f"{allowing.base}/anthropic/v1/messages", json=asked) as response:
        assert response.status == 200
    assert base64.b64encode(PNG) in provider.last.body


async def test_what_gemini_opens_itself_is_handed_on(proxy: Proxy, provider: FakeProvider) -> None:
    urls = ["gs://bucket/a.png", "https://generativelanguage.googleapis.com/v1beta/files/abc"]
    assert (await ask(proxy, *urls))[0] == 200
    assert [part["fileData"]["fileUri"] for part in parts_sent(provider)[1:]] == urls


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-6"])
async def test_nothing_is_fetched_for_providers_that_take_urls(allowing: Proxy, site: FakeProvider, model: str) -> None:
    assert (await ask(allowing, f"{site.url}/a", model=model))[0] == 200
    assert site.received == []


async def test_switched_off_the_provider_gets_the_url(start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider) -> None:
    proxy = await start_proxy({"images": {"fetch": False}}, environ)
    assert (await ask(proxy, "https://example.com/a.png"))[0] == 200
    assert parts_sent(provider)[1]["fileData"]["fileUri"] == "https://example.com/a.png"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_this_machine_is_refused_by_default(proxy: Proxy, provider: FakeProvider, site: FakeProvider, name: str) -> None:
    assert "private" in await refusal(proxy, f"http://{name}:{site.port}/a?secret")
    assert site.received == [] and provider.received == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_is_what_the_open_internet_routes(address: str, public: bool) -> None:
    assert images.is_public(address) is public


async def test_a_redirect_is_followed(allowing: Proxy, site: FakeProvider) -> None:
    site.will(moved("/there"), image())
    assert (await ask(allowing, f"{site.url}/here"))[0] == 200
    assert [received.target for received in site.received] == ["/here", "/there"]


async def test_a_redirect_into_the_house_is_refused(proxy: Proxy, site: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def is_public(address: str) -> bool:
        judged.append(address)
        return address == "127.0.0.1"

    monkeypatch.setattr(images, "is_public", is_public)
    site.will(moved("http://169.254.169.254/secret"))
    assert "private" in await refusal(proxy, f"{site.url}/a")
    assert judged == ["127.0.0.1", "169.254.169.254"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://example.com/secret"])
async def test_a_redirect_out_of_http_is_refused(allowing: Proxy, site: FakeProvider, to: str) -> None:
    site.will(moved(to))
    assert "no http(s) URL" in await refusal(allowing, f"{site.url}/a")


async def test_a_redirect_in_a_circle_ends(allowing: Proxy, site: FakeProvider) -> None:
    site.will(*[moved("/a")] * 9)
    assert "redirects" in await refusal(allowing, f"{site.url}/a")


async def test_the_refusal_names_the_host_and_why(allowing: Proxy, provider: FakeProvider, site: FakeProvider) -> None:
    site.will(whole(b"gone", 404))
    assert await refusal(allowing, f"{site.url}/a?secret") == "the image at '127.0.0.1' cannot be fetched: it answered 404"
    assert provider.received == []


@pytest.mark.parametrize("data", [b"<html>log in first</html>", b"", b"%PDF-1.7 ...", b"\x89PN"])
async def test_what_is_no_image_is_refused_whatever_its_label(allowing: Proxy, site: FakeProvider, data: bytes) -> None:
    site.will(image(data))
    assert "is no PNG" in await refusal(allowing, f"{site.url}/a.png")


@pytest.mark.parametrize("answer", [image(PNG * 20), streamed(PNG, PNG * 19)], ids=["told", "untold"])
async def test_too_large_is_refused(start_proxy: StartProxy, environ: Mapping[str, str], site: FakeProvider, answer: Answer) -> None:
    proxy = await start_proxy({"images": {"allow_private": True, "max_bytes": 1000}}, environ)
    site.will(answer)
    assert "larger than 1,000 bytes" in await refusal(proxy, f"{site.url}/a")


async def test_images_that_are_too_large_together_are_refused(
    start_proxy: StartProxy, environ: Mapping[str, str], site: FakeProvider
) -> None:
    proxy = await start_proxy({"images": {"allow_private": True, "max_bytes": len(PNG) + 1}}, environ)
    site.will(image(), image())
    status, told = await ask(proxy, f"{site.url}/a", f"{site.url}/b")
    assert (status, "together" in told["error"]["message"]) == (400, True)


async def test_too_many_are_refused(allowing: Proxy, site: FakeProvider) -> None:
    status, told = await ask(allowing, *(f"{site.url}/{number}" for number in range(images.MOST + 1)))
    assert (status, "101 images" in told["error"]["message"], site.received) == (400, True, [])


async def test_too_slow_is_refused(start_proxy: StartProxy, environ: Mapping[str, str], site: FakeProvider) -> None:
    proxy = await start_proxy({"images": {"allow_private": True, "timeout_s": 0.05}}, environ)
    site.will(silent())
    assert "within 0.05 s" in await refusal(proxy, f"{site.url}/a")


async def test_an_image_that_breaks_off_is_refused(allowing: Proxy, site: FakeProvider) -> None:
    site.will(streamed(PNG, Act.RESET))
    assert "connection failed" in await refusal(allowing, f"{site.url}/a")


@pytest.mark.parametrize("url", ["http://", "http://[::1", "https://a b/", "http://2130706433/", "http://127.0.0.1:99999/"])
async def test_a_url_that_is_none_is_refused(allowing: Proxy, url: str) -> None:
    assert "cannot be fetched" in await refusal(allowing, url)
