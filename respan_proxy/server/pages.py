"""The start page at `/ui/` (`/` leads there): where to point an SDK, which providers are there, how to add one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

from respan_proxy import __version__
from respan_proxy.dialects import catalog

if TYPE_CHECKING:
    from respan_proxy.server.house import House

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
:root{color-scheme:light dark;font:16px/1.55 system-ui,sans-serif}body{max-width:46rem;margin:3rem auto;padding:0 1.2rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin-top:2rem}pre{padding:.8rem 1rem;border-radius:8px;overflow-x:auto;
background:color-mix(in srgb,currentColor 8%,transparent);font-size:.86rem}small{opacity:.7}td{padding:.15rem 1.2rem .15rem 0}
"""


def answer(house: House, method: str, path: str) -> web.Response | None:
    if method not in ("GET", "HEAD"):
        return None
    if path in ("/", "/ui"):
        return web.Response(status=302, headers={"Location": "/ui/"})
    if path != "/ui/":
        return None
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return web.Response(text=_start_page(house), content_type="text/html", charset="utf-8", headers=headers)


def _start_page(house: House) -> str:
    config, base = house.config, house.url
    usable = [provider for provider in config.providers.values() if provider.usable]
    rows = "".join(f"<tr><td><b>{escape(p.name)}</b></td><td>{escape(p.base_url) or 'built in'}</td></tr>" for p in usable)
    variables = [row.key_env[0] for row in catalog.providers().values() if row.key_env]
    hint = (
        ""
        if config.has_provider_key
        else "<p><b>No provider has a key yet</b>, so <code>echo</code>, the built-in provider, answers under every known model name.</p>"
    )
    example = (
        f"curl {base}/chat/completions -H 'content-type: application/json' \\\n"
        '  -d \'{"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hello"}]}\''
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>respan_proxy</title><style>{_STYLE}</style>
<h1>respan_proxy</h1><small>version {escape(__version__)}</small>
{hint}
<h2>Point your SDK here</h2>
<pre>OpenAI, Respan   {escape(base)}
Anthropic        {escape(base)}/anthropic
Google           {escape(base)}/google/gemini</pre>
<pre>{escape(example)}</pre>
<h2>Providers</h2>
<table>{rows}</table>
<h2>Add a provider</h2>
<p>Put its key into the environment or into <code>.env</code> beside where the proxy starts, and start it again:</p>
<pre>{escape(chr(10).join(f"{name}=..." for name in variables[:3]))}</pre>
<p><small>Also known: {escape(", ".join(variables[3:]))}. Any other OpenAI-compatible server: a <code>[providers.NAME]</code> table in
<code>config.toml</code> (<code>respan-proxy init</code> writes one with comments).</small></p>
<h2>Read what was said</h2>
<pre>respan-proxy logs
curl {escape(base)}/request-logs/list/</pre>
</html>
"""
