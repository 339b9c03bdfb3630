"""What is said when the proxy is up: where, who answers, where it is remembered, and one call to try."""

from __future__ import annotations

from respan_proxy import __version__
from respan_proxy.config import Config, Export, Listen


def banner(config: Config, address: Listen, beside: Listen | None = None) -> str:
    """A few lines for a person; never a key."""
    told = facts(config, address, beside)
    lines = [f"respan-proxy {__version__} listens on {told.pop('address')}"]
    lines += [f"  {name:<10} {value}" for name, value in told.items()]
    return "\n".join(lines + [f"  warning    {warning}" for warning in config.warnings])


def facts(config: Config, address: Listen, beside: Listen | None = None) -> dict[str, str]:
    """The same by name: `address`, `providers`, `keys`, `database`, `try` (a call that works as it stands, but for a key of ours).

    And `spans` where there is a second address for them, `exports` where calls are passed on.
    """
    usable = [provider.name for provider in config.providers.values() if provider.usable and not provider.built_in]
    placed = [provider.name for provider in config.providers.values() if provider.placed and not provider.usable]
    base = f"http://{_reached_at(address)}" if address.path is None else "http://localhost"
    curl = "curl" if address.path is None else f"curl --unix-socket {address.path}"
    bearer = "" if config.any_key else " -H 'authorization: Bearer YOUR_KEY'"
    is_served = "openai" in usable or not config.has_provider_key
    model = "gpt-4.1-nano" if is_served else "echo/hello"
    return {
        "address": f"{base}/api" if address.path is None else f"{address} (/api)",
        **({} if beside is None else {"spans": str(beside) if beside.path is not None else f"http://{_reached_at(beside)}"}),
        "providers": _who_answers(config, usable, placed),
        "keys": "any (loopback only)" if config.any_key else ", ".join(key.name for key in config.keys),
        "database": config.database,
        **({"exports": ", ".join(map(_passed_on, config.exports))} if config.exports else {}),
        "try": f"{curl} {base}/api/chat/completions{bearer} -H 'content-type: application/json' "
        f"""-d '{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}'""",
    }


def _who_answers(config: Config, usable: list[str], placed: list[str]) -> str:
    found = [*usable, *(f"{name} (with the keys that callers bring)" for name in placed)]
    if config.has_provider_key:
        return ", ".join(found) + " (and echo)"
    echo = "none with a key, so echo (built in) answers under every known model name; OPENAI_API_KEY or another ends that"
    return f"{', '.join(found)}; {echo}" if found else echo


def _passed_on(export: Export) -> str:
    return f"{export.name} (with what was said)" if export.content == "full" else export.name


def _reached_at(address: Listen) -> str:
    """`address`, or this machine where it stands for all of its addresses: nobody can call 0.0.0.0."""
    match address.host:
        case "0.0.0.0":
            return str(Listen("127.0.0.1", address.port))
        case "::":
            return str(Listen("::1", address.port))
        case _:
            return str(address)
