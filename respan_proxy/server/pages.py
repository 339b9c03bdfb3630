"""The start page at `/ui/` (`/` leads there): where to point an SDK and where to send spans, which providers are there, how to add one."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

from respan_proxy import __version__
from respan_proxy.dialects import catalog

if TYPE_CHECKING:
    from respan_proxy.config import Config
    from respan_proxy.server.house import House

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c1d20, #e6e6e3); --quiet: light-dark(#6a6c73, #93959c);
  --paper: light-dark(#fbfbf9, #17181b); --box: light-dark(#f1f1ed, #202226); --line: light-dark(#e2e2dc, #303339);
  --good: light-dark(#2b8a4b, #5cc780); --note: light-dark(#fdf4dc, #2d2818); --edge: light-dark(#e0b84c, #a98529) }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 54rem; padding: 3.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", sans-serif }
h1 { margin: 0; font-size: 1.6rem; font-weight: 650; letter-spacing: -0.015em }
h1 small { margin-left: .5rem; font-size: .85rem; font-weight: 400; letter-spacing: 0; color: var(--quiet) }
h2 { margin: 2.75rem 0 .6rem; font-size: 1rem; font-weight: 650 }
p { margin: .6rem 0 } .lead, .quiet { color: var(--quiet) }
code, pre { font: .84rem/1.65 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
code { padding: .1em .35em; border-radius: 4px; background: var(--box); white-space: nowrap }
pre { margin: .6rem 0; padding: .85rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--box); overflow-x: auto }
pre b { font-weight: 400; color: var(--quiet); user-select: none }
table { width: 100%; border-collapse: collapse }
td { padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); vertical-align: baseline }
tr:first-child td { border-top: 0 } td:first-child { width: 10rem; font-weight: 550; white-space: nowrap }
td:first-child::before { content: ""; display: inline-block; width: .5rem; height: .5rem; margin-right: .65rem; border-radius: 50%;
  background: var(--good); vertical-align: .08em }
td:last-child { padding-right: 0; font-size: .9rem; color: var(--quiet); overflow-wrap: anywhere }
.note code { background: none; padding: 0; font-weight: 600 }
.note { margin: 1.5rem 0 0; padding: .7rem 1rem; border-left: 3px solid var(--edge); border-radius: 4px; background: var(--note) }
a { color: inherit; text-underline-offset: .2em; text-decoration-color: var(--quiet) }
"""

_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def answer(house: House, request: web.BaseRequest, path: str) -> web.Response | None:
    """The page, the way to it, or None for a path that is no page."""
    if request.method not in ("GET", "HEAD"):
        return None
    if path in ("/", "/ui"):
        return web.Response(status=302, headers={"Location": "/ui/"})
    if path != "/ui/":
        return None
    # As the browser reached us: behind a mapped port or another name, that is where an SDK will reach us too.
    page = start_page(house.config, f"http://{request.headers.get('Host') or house.address}/api")
    return web.Response(text=page, content_type="text/html", charset="utf-8", headers=_HEADERS)


def start_page(config: Config, base: str) -> str:
    """Without scripts and without secrets. Where there are keys it has none to check, and says nothing of who else is inside."""
    at, key = escape(base), "any" if config.any_key else "YOUR_KEY"
    bearer = "" if config.any_key else " -H 'authorization: Bearer YOUR_KEY'"
    headers = "" if config.any_key else "\nexport OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20YOUR_KEY"
    model = "gpt-4.1-nano" if not config.has_provider_key else "echo/hello"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>respan_proxy</title>
<style>{_STYLE}</style>
<h1>respan_proxy<small>{escape(__version__)}</small></h1>
<p class="lead">One base URL in front of every model provider; every call remembered.</p>
{_NO_KEY_YET if not config.has_provider_key else ""}
<h2>Point your SDK here</h2>
<pre><b># OpenAI, Respan</b>
OpenAI(api_key="{key}", base_url="{at}")
<b># Anthropic</b>
Anthropic(api_key="{key}", base_url="{at}/anthropic")
<b># Google</b>
genai.Client(api_key="{key}", http_options={{"base_url": "{at}/google/gemini"}})</pre>
<h2>Or try it now</h2>
<pre>curl {at}/chat/completions{bearer} -H 'content-type: application/json' \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "hello"}}]}}'</pre>
<h2>Trace your app</h2>
<pre><b># respan-ai and its instrumentations</b>
export RESPAN_BASE_URL={at}
export RESPAN_API_KEY={key}
<b># any OpenTelemetry program</b>
export OTEL_EXPORTER_OTLP_ENDPOINT={at}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf{headers}</pre>
{"".join(_providers(config)) if config.any_key else ""}
<h2>Add a provider</h2>
<p>Put its key into the environment, or into a <code>.env</code> file where the proxy starts, and start it again.</p>
<pre>{escape(chr(10).join(f"{name}=..." for name in _variables()[:3]))}</pre>
<p class="quiet">Known as well: {", ".join(f"<code>{escape(name)}</code>" for name in _variables()[3:])}. Any other server, your own too,
is a <code>[providers.NAME]</code> table in <code>config.toml</code>; <code>respan-proxy init</code> writes one with comments.</p>
<h2>Read what was said</h2>
<pre>respan-proxy logs
respan-proxy logs -f
respan-proxy traces
curl {at}/request-logs/list/{bearer}</pre>
</html>
"""


_NO_KEY_YET = """<p class="note">No provider has a key yet, so <code>echo</code>, the built-in provider, answers under every known model
name. It says so in each answer.</p>"""


def _providers(config: Config) -> Iterator[str]:
    yield "<h2>Providers</h2>\n<table>\n"
    for provider in config.providers.values():
        if provider.usable:
            where = "built in; answers offline, in every dialect" if provider.built_in else provider.base_url
            yield f"<tr><td>{escape(provider.name)}</td><td>{escape(where)}</td></tr>\n"
    yield "</table>"


def _variables() -> list[str]:
    """Of the providers for whom a key is enough."""
    return [row.key_env[0] for row in catalog.providers().values() if row.key_env and row.base_url and not row.project_env]
