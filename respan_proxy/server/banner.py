"""What the terminal says when the proxy is up: where, who answers, where it is remembered, and one call to try."""

from __future__ import annotations

from respan_proxy import __version__
from respan_proxy.config import Config, Listen


def banner(config: Config, address: Listen) -> str:
    """A few lines for a person; never a key."""
    keyed = [provider.name for provider in config.providers.values() if provider.usable and not provider.built_in]
    if config.has_provider_key:
        providers = ", ".join(keyed) + " (and echo)"
    else:
        found = f"{', '.join(keyed)}; " if keyed else ""
        providers = f"{found}none with a key, so echo (built in) answers under every known model name; OPENAI_API_KEY or another ends that"
    keys = "any (loopback only)" if config.any_key else ", ".join(key.name for key in config.keys)
    base = f"http://{address}" if address.path is None else "http://localhost"
    curl = "curl" if address.path is None else f"curl --unix-socket {address.path}"
    bearer = "" if config.any_key else " -H 'authorization: Bearer YOUR_KEY'"
    model = "gpt-4.1-nano" if not config.has_provider_key or "openai" in keyed else "echo/hello"
    lines = [
        f"respan-proxy {__version__} listens on {base}/api",
        f"  providers  {providers}",
        f"  keys       {keys}",
        f"  database   {config.database}",
        f"  try        {curl} {base}/api/chat/completions{bearer} -H 'content-type: application/json' "
        f"""-d '{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}'""",
        *(f"  warning    {warning}" for warning in config.warnings),
    ]
    return "\n".join(lines)
