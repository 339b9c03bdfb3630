"""Owns the written forms of the options: `config.example.toml`, the starter that `init` writes, the tables in docs/configuration.md.

Print one anew with `python -m respan_proxy.config.document example|tables`.
"""

from __future__ import annotations

import sys
from textwrap import fill

from respan_proxy.config.export_tables import EXPORT
from respan_proxy.config.kinds import literal
from respan_proxy.config.options import (
    CUSTOMER,
    GROUP,
    KEYS,
    OPTIONS,
    PROFILES,
    ROUTE,
    Option,
    default_of,
    in_section,
)
from respan_proxy.config.provider_options import DEPLOYMENT, PROVIDER
from respan_proxy.dialects import catalog

_SECTION_WHY = {
    "server": "who may reach us, and how calls are treated",
    "store": "what is remembered, and where",
    "retention": "how long it is remembered",
    "state": "what clients cannot carry from call to call and is kept for them: stored Responses, signatures of thoughts",
    "limits": "what is too large or too slow",
    "budgets": "what may be spent: the guard against a program that goes on calling all night",
    "timeouts": "the longest waits on a provider; there is no total limit on a stream that is alive",
    "images": "images by URL, where a provider of another dialect takes bytes alone",
    "telemetry": "spans that apps send of themselves (OTLP)",
    "retry": "once more at the same target, before another is asked",
    "breaker": "a target (provider, model, deployment) that fails again and again is asked last for a while",
    "cache": "answers kept in memory, for requests that ask for it",
    "faults": "errors, delays and breaks made on purpose, for whoever tests how an app bears them",
    "echo": "the built-in provider: every dialect, no network",
    "log": "lines on stderr; never a body, never a key",
}

_HEAD = """\
# The configuration of respan-proxy, TOML. Without this file everything below holds as it stands.
#
# Flags (--listen, --database) win over variables (RESPAN_PROXY_LISTEN, RESPAN_PROXY_DATABASE, RESPAN_PROXY_KEYS,
# RESPAN_PROXY_<PROVIDER>_BASE_URL), variables over this file. Any string may be "env:NAME": the value of that variable, from the
# environment or the nearest .env. Sizes are bytes or strings like "64 MB". SIGHUP reads the file again.
"""

_KEYS_HEAD = """\
# Keys of our own. With none, everybody on this machine gets in with any key; with one, only they do. One table per key.
# Instead of these tables, in a variable: RESPAN_PROXY_KEYS=name:key[:environment],...
"""

_EXPORT_HEAD = """\
# Collectors of OpenTelemetry that every call and every span is passed on to, beside our own database. One table per collector.
# Prompts and answers stay here unless content = "full" says otherwise. docs/recipes/exports.md tells more.
"""

_CUSTOMERS = """\
# What each customer may take, by its customer_identifier or a glob; the first that fits, and every customer has the whole of it.
# A request's own customer_params.rate_limit (requests per minute) holds beside it.
# [customers."*"]
"""

_MODELS = """\
# Names of your own, and where they lead: "name" = "model" or "provider/model". They come before all other rules.
# [models]
# "fast" = "openai/gpt-4.1-nano"
# "gpt-4o" = "azure_openai/my-deployment"
"""

_ROUTES = """\
# What holds for calls that ask for a model, by its name or a glob; the first that fits. A request's own parameters come before it.
# [routes."gpt-*"]
"""

_GROUPS = """\
# Models of which one is picked for each call, and the others asked when it fails. Named by load_balance_group.group_id, or as the model.
# [groups.everyday]
"""

_DEPLOYMENTS = """
# # Several keys or places of this provider, each a table; calls are spread over them (pick), and one that fails hands on to the next.
# [[providers.openai.deployments]]
"""

_CUSTOM = """\
# [providers.my_vllm]
# base_url = "http://gpu.internal:8000/v1"
# models = ["qwen3-32b"]
"""


_PROFILES_HEAD = """\
# Facts about models, where a translation between dialects needs them. Every table whose globs fit says its part, later ones over earlier
# ones, all of them over respan_proxy/dialects/profiles.toml (`respan-proxy explain MODEL` shows what holds). One table per fact is fine.
"""


def example(*, commented: bool = False) -> str:
    """Every option with its default and one line of why. `commented` puts `#` before those that hold: the starter."""
    mark = "# " if commented else ""
    parts = [_HEAD]
    for section in dict.fromkeys(option.section for option in OPTIONS):
        lines = [f"# {_SECTION_WHY[section]}", f"[{section}]"]
        for option in in_section(section):
            lines += [f"# {_why(option)}", f"{mark}{option.name} = {option.kind.write(default_of(option))}"]
        parts.append("\n".join(lines) + "\n")
    parts.append(_KEYS_HEAD + "# [[keys]]\n" + _samples(KEYS))
    parts.append(_EXPORT_HEAD + "# [[export]]\n" + _samples(EXPORT))
    parts.append(_CUSTOMERS + _samples(CUSTOMER))
    parts.append(_MODELS)
    parts.append(_ROUTES + _samples(ROUTE))
    parts.append(_GROUPS + _samples(GROUP))
    parts.append(_provider_head() + "# [providers.openai]\n" + _samples(PROVIDER) + _DEPLOYMENTS + _samples(DEPLOYMENT))
    parts.append(_CUSTOM)
    parts.append(_PROFILES_HEAD + "# [[profiles]]\n" + _samples(PROFILES))
    return "\n".join(parts)


def tables() -> str:
    """The options as Markdown tables, one per section."""
    parts = []
    for section in dict.fromkeys(option.section for option in OPTIONS):
        rows = [(option, option.kind.write(default_of(option))) for option in in_section(section)]
        parts.append(f"### `[{section}]`: {_SECTION_WHY[section]}\n\n" + _rows(rows))
    parts.append("### `[[keys]]`: keys of our own\n\n" + _rows([(option, option.default) for option in KEYS]))
    parts.append("### `[[export]]`: collectors that spans are passed on to\n\n" + _rows([(option, option.default) for option in EXPORT]))
    parts.append('### `[customers."GLOB"]`: what each customer may take\n\n' + _rows([(option, option.default) for option in CUSTOMER]))
    parts.append('### `[routes."GLOB"]`: what holds for calls of a model\n\n' + _rows([(option, option.default) for option in ROUTE]))
    parts.append("### `[groups.NAME]`: models that share calls\n\n" + _rows([(option, option.default) for option in GROUP]))
    parts.append("### `[providers.NAME]`: a provider\n\n" + _rows([(option, option.default) for option in PROVIDER]))
    parts.append(
        "### `[[providers.NAME.deployments]]`: several keys or places of a provider\n\n"
        + _rows([(option, option.default) for option in DEPLOYMENT])
    )
    parts.append("### `[[profiles]]`: facts about models\n\n" + _rows([(option, option.default) for option in PROFILES]))
    parts.append("### Providers known by name\n\n" + _known())
    return "\n".join(parts)


def _known() -> str:
    lines = ["| Provider | Speaks | Key | Where, beside `RESPAN_PROXY_<NAME>_BASE_URL` |", "| --- | --- | --- | --- |"]
    for name, row in catalog.providers().items():
        if row.built_in:
            continue
        key = " or ".join(f"`{variable}`" for variable in row.key_env) or "none"
        where = " or ".join(f"`{variable}`" for variable in row.base_url_env)
        where = f"`{row.base_url}`" + (f", {where}" if where else "") if row.base_url else f"{where}: required"
        if row.project_env:
            where += f"; {' or '.join(f'`{variable}`' for variable in row.project_env)}: required"
        lines.append(f"| `{name}` | {', '.join(row.dialects)} | {key} | {where} |")
    return "\n".join(lines) + "\n"


def _provider_head() -> str:
    known = ", ".join(name for name, row in catalog.providers().items() if not row.built_in)
    text = (
        f"Providers. Known ones ({known}) need no table here: their variables are enough (docs/configuration.md lists them). "
        "A table changes what is known, or adds a provider of your own (then base_url is required)."
    )
    return fill(text, 118, initial_indent="# ", subsequent_indent="# ") + "\n"


def _samples(options: tuple[Option, ...]) -> str:
    lines = []
    for option in options:
        # What excludes another option of the same table stays a comment when the table is uncommented.
        mark = "# # " if option.instead_of else "# "
        lines.append(f"# # {_why(option)}; default: {option.default}\n{mark}{option.name} = {literal(option.sample)}\n")
    return "".join(lines)


def _why(option: Option) -> str:
    return f"{option.why} [{option.variable}]" if option.variable else option.why


def _rows(rows: list[tuple[Option, str]]) -> str:
    lines = ["| Option | Default | Expected | Why |", "| --- | --- | --- | --- |"]
    for option, default in rows:
        why = f"{option.why}; `{option.variable}`" if option.variable else option.why
        lines.append(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{option.name}`", default, option.kind.expected, why)) + " |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tables() if sys.argv[1:] == ["tables"] else example())
