"""Fetches images from wherever a caller's URL leads: bounded in size, time and number, and never inside the house unless allowed.

What an address is judged by is the very one that is connected to, at every hop: no name can mean something else a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.connector import AddrInfoType
from yarl import URL

from respan_proxy import __version__
from respan_proxy.config import Images
from respan_proxy.dialects.links import image_of, no_image
from respan_proxy.dialects.request import Attachment

# As many as Anthropic takes in one request.
MOST = 100
# Connections that browsers open to one host.
PER_HOST = 6
# http to https, a short name to a long one, a host to its CDN.
HOPS = 3

PIECE_BYTES = 262_144

_PRIVATE = "its address is private, loopback or link-local, which [images] allow_private forbids"
_NAT64 = IPv6Network("64:ff9b::/96")

_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"respan-proxy/{__version__}"}


class _Private(OSError):
    """The address is one that the configuration does not let us connect to."""


class _Refused(Exception):
    """Why an image is not taken, in words for the caller."""


async def fetch(wanted: Mapping[str, str], limits: Images) -> Mapping[str, Attachment]:
    """The images at these URLs, by URL; the values of `wanted` are the caller's members that name them, for complaints.

    `max_bytes` holds for all of them together. Raises RequestRejected for the first that cannot be had; the others are then given up.
    """
    if len(wanted) > MOST:
        raise no_image(_host(next(iter(wanted))), f"the request links to {len(wanted)} images, {MOST} are the most", "messages")
    left = _Budget(limits.max_bytes)
    connector = aiohttp.TCPConnector(
        limit_per_host=PER_HOST,
        force_close=True,
        use_dns_cache=False,
        socket_factory=_any_socket if limits.allow_private else _public_socket,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=limits.timeout_s),
    )
    try:
        async with session, asyncio.TaskGroup() as group:
            tasks = {
                url: group.create_task(_fetched(session, url, where, limits, left), name=f"image at {_host(url)}")
                for url, where in wanted.items()
            }
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return {url: task.result() for url, task in tasks.items()}


class _Budget:
    """Bytes that may still come."""

    __slots__ = ("left", "whole")

    def __init__(self, size: int) -> None:
        self.left = self.whole = size

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _Refused(f"the request's images are larger than {self.whole:,} bytes together ([images] max_bytes)")


async def _fetched(session: aiohttp.ClientSession, url: str, where: str, limits: Images, left: _Budget) -> Attachment:
    host = _host(url)
    try:
        data = await _body(session, _url(url), left)
    except TimeoutError:
        raise no_image(host, f"it did not come within {limits.timeout_s:g} s", where) from None
    except (_Refused, aiohttp.ClientError, OSError, ValueError) as error:
        raise no_image(host, _why(error), where) from None
    return image_of(data, host, where)


async def _body(session: aiohttp.ClientSession, url: URL, left: _Budget) -> bytes:
    pieces = []
    async with session.get(url, max_redirects=HOPS) as response:
        if response.status != 200:
            raise _Refused(f"it answered {response.status}")
        if (length := response.content_length or 0) > left.left:
            left.spend(length)
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            left.spend(len(piece))
            pieces.append(piece)
    return b"".join(pieces)


def _why(error: Exception) -> str:
    """In words without the URL, which aiohttp's own words repeat."""
    match error:
        case _Refused():
            return str(error)
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate was refused"
        case aiohttp.ClientConnectorError(os_error=inner):
            return _PRIVATE if isinstance(inner, _Private) else inner.strerror or "no connection"
        case aiohttp.TooManyRedirects():
            return f"it redirects more than {HOPS} times"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlRedirectClientError() | ValueError():
            return "its URL, or one that it redirects to, is no http(s) URL"
        case _:
            return f"the connection failed ({type(error).__name__})"


def _host(url: str) -> str:
    try:
        return URL(url).host or "?"
    except ValueError:
        return "?"


def _url(url: str) -> URL:
    """Letter by letter where that is possible: signed URLs are signed as they are written."""
    return URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)


def _any_socket(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = info
    return socket.socket(family=family, type=kind, proto=protocol)


def _public_socket(info: AddrInfoType) -> socket.socket:
    if not is_public(str(info[4][0])):
        raise _Private(_PRIVATE)
    return _any_socket(info)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; an IPv4 address inside an IPv6 one is what counts."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        ip = inner or ip
    return ip.is_global and not ip.is_multicast
