"""Owns the reading of `[providers.NAME]`: what is known about a provider, and what the user says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from respan_proxy.config.balancing import MAX_WAIT_S
from respan_proxy.config.kinds import SECRET, URL, Unfit
from respan_proxy.config.provider_options import DEPLOYMENT, PROVIDER
from respan_proxy.config.providers import Auth, Deployment, Envelope, Provider, Quirks, Timeouts
from respan_proxy.config.reading import Reader, did_you_mean, quoted, variable_name
from respan_proxy.config.values import Config
from respan_proxy.dialects import catalog
from respan_proxy.dialects.catalog import Globs, ProviderRow

PREFIX = "RESPAN_PROXY_"
# Stands where a provider's base URL is for the caller to bring.
NO_PLACE = "http://nowhere.invalid"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ProviderTables:
    """All providers that are there: known ones with a key, a place or a table, and the user's own."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def providers(self, config: Config) -> dict[str, Provider]:
        tables = self.reader.table("providers")
        rows = catalog.providers()
        found: dict[str, Provider] = {}
        for name, row in rows.items():
            if row.built_in:
                found[name] = Provider(
                    name, dialects=row.dialects, auth=Auth.named(row.auth), request_bytes=config.limits.request_bytes, built_in=True
                )
                if name in tables:
                    self.reader.complain(f"providers.{name}", tables[name], "another name: this one is built in")
            elif provider := self.provider(row, tables.get(name), config):
                found[name] = provider
        for name, table in tables.items():
            if name in rows:
                continue
            if not _NAME.fullmatch(str(name)):
                self.reader.complain(f"providers.{quoted(name)}", name, "a name of letters, digits, '_', '-' and '.'")
            elif known := catalog.names().get(name):
                self.reader.complain(f"providers.{name}", name, f'"{known}", as this provider is called')
            elif provider := self.provider(ProviderRow(name, key_env=(f"{variable_name(name)}_API_KEY",)), table, config):
                found[name] = provider
        return found

    def provider(self, row: ProviderRow, table: object, config: Config) -> Provider | None:
        name = row.name
        where = f"providers.{name}"
        is_known = name in catalog.providers()
        if table is not None and not isinstance(table, Mapping):
            self.reader.complain(where, table, "a table of options")
            return None
        given: dict[str, Any] = dict(table or {})
        if isinstance(said := given.get("key"), str):
            told = self.reader.environ.get(said[4:].strip(), "") if said.startswith("env:") else said
            if self._fit(row, told.strip()) is None:
                del given["key"]
        self.reader.unknown(given, [*(option.name for option in PROVIDER), "deployments"], where)
        value = {option.name: self.reader.read(given, option, f"{where}.{option.name}", row) for option in PROVIDER}
        place = self._place(row, value["base_url"])
        key = self._fit(row, value["key"] or self._key_of_the_environment(row))
        if key is not None and value["token_command"]:
            self.reader.complain(f"{where}.token_command", None, "either a key or a command that prints one", found="both")
        deployments = self._deployments(given.get("deployments", []), f"{where}.deployments", row)
        needs_key = Auth.named(value["auth"] or row.auth).header is not None and not value["token_command"]
        for number, one in enumerate(deployments, 1):
            if one.key is None and key is None and needs_key:
                # Never another deployment's: it may be meant for another place.
                self.reader.complain(f"{where}.deployments[{number}].key", None, f"a key, or {where}.key for all that have none")
        if deployments and key is not None:
            deployments = (Deployment("default", key), *deployments)
        key = key or next((one.key for one in deployments if one.key), None)
        place = place or next((one.base_url for one in deployments if one.base_url and not row.base_url), None)
        if not place and not row.base_url:
            if table is not None and "base_url" not in given:
                self.reader.complain(
                    f"{where}.base_url", None, f"{URL.expected} ({self._near_providers(name)})" if not is_known else URL.expected
                )
            return None
        if row.on_request and not place and key is None and table is None:
            return None
        project = value["project"] or self.reader.first(row.project_env) or ""
        location = value["location"] or self.reader.first(row.location_env) or row.location
        base_url = with_path(place, row) if place else row.base_url
        base_url = base_url.replace("{region}", "" if location == "global" else f"{location}-").replace("{location}", location)
        paths = row.paths if value["paths"] is None else {**row.paths, **value["paths"]}
        api_version = row.api_version if value["api_version"] is None else value["api_version"]
        if row.api_version and base_url.endswith("/openai/v1"):
            # Azure's newer surface is OpenAI's own: no deployments in the path, no api-version.
            paths, api_version = value["paths"] or {}, value["api_version"] or ""
        if "{project}" in "".join(paths.values()) and not project and (place or key or table is not None):
            self.reader.warnings.append(
                f"{name}: no project is set ({where}.project or {' or '.join(row.project_env)}); its calls cannot be addressed"
            )
        auth = Auth.named(value["auth"] or row.auth)
        if auth.header is None and (key is not None or value["token_command"]):
            # A server that needs no key was given one all the same: it sits behind something that does.
            auth = Auth()
        return Provider(
            name=name,
            base_url=base_url,
            dialects=value["dialects"] or row.dialects,
            auth=auth,
            key=key,
            key_env=row.key_env,
            headers=value["headers"] or {},
            trace_context=bool(value["trace_context"]),
            proxy=value["proxy"],
            ca_file=value["ca_file"] or None,
            timeouts=Timeouts(*(value[limit] or getattr(config.timeouts, limit) for limit in ("connect_s", "first_byte_s", "silence_s"))),
            request_bytes=config.limits.request_bytes if value["request_bytes"] is None else value["request_bytes"],
            quirks=Quirks(
                **{name: getattr(row, name) if value[name] is None else value[name] for name in ("ask_usage", "stores_responses")},
                **{name: getattr(row, name) for name in ("counts_tokens", "choiceless_chunks", "typed_content", "bare_names")},
            ),
            caller_keys=value["caller_keys"] or config.caller_keys,
            key_pattern=Globs(row.key_pattern if value["key_pattern"] is None else value["key_pattern"]),
            bearer_keys=Globs(row.bearer_keys),
            families=Globs(row.families if value["families"] is None else value["families"]),
            models=value["models"] or (),
            paths=paths,
            stream_paths=row.stream_paths,
            bodies={path: _envelope(body) for path, body in row.bodies.items()},
            dialect_models={dialect: Globs(tuple(names)) for dialect, names in row.dialect_models.items()},
            auth_also=row.auth_also,
            token_command=value["token_command"] or (),
            key_form=row.key_form,
            version=row.version,
            api_version=api_version,
            project=project,
            location=location,
            deployments=deployments,
            pick=value["pick"] or "weighted",
            max_concurrency=value["max_concurrency"] or 0,
            max_wait_s=value["max_wait_s"] or MAX_WAIT_S,
            placed=bool(place) and base_url != row.base_url,
        )

    def _deployments(self, tables: object, where: str, row: ProviderRow) -> tuple[Deployment, ...]:
        if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
            self.reader.complain(where, tables, f"[[{where}]] tables", secret=True)
            return ()
        found: list[Deployment] = []
        for number, table in enumerate(tables, 1):
            at = f"{where}[{number}]"
            self.reader.unknown(table, [option.name for option in DEPLOYMENT], at)
            said = {option.name: self.reader.read(table, option, f"{at}.{option.name}", row) for option in DEPLOYMENT}
            name = said["name"] or f"deployment-{number}"
            if name == "default" or any(name == one.name for one in found):
                self.reader.complain(f"{at}.name", name, "a name that no other deployment has")
            found.append(
                Deployment(
                    name,
                    said["key"],
                    with_path(said["base_url"], row) if said["base_url"] else "",
                    said["api_version"] or "",
                    said["weight"] or 1.0,
                    Globs(said["available_models"] or ()),
                    Globs(said["exclude_models"] or ()),
                )
            )
        return tuple(found)

    def _place(self, row: ProviderRow, given: str | None) -> str | None:
        """Where the user says that a provider is: RESPAN_PROXY_<NAME>_BASE_URL, else the file, else a variable of the provider's own."""
        variable = f"{PREFIX}{variable_name(row.name)}_BASE_URL"
        for name in (variable, *(row.base_url_env if given is None else ())):
            if not (text := self.reader.environ.get(name)):
                continue
            try:
                return str(URL.read(text if name == variable else _as_url(text, row.base_url)))
            except Unfit:
                self.reader.complain(name, text, URL.expected, source=self.reader.place_of(name))
        return given

    def _fit(self, row: ProviderRow, key: str | None) -> str | None:
        """The key, unless it is of a form that people bring and the provider is not asked with."""
        if key is None or not Globs(row.keys_refused).match(key):
            return key
        self.reader.warnings.append(f"{row.name}: its key is not used: expected {row.key_form}")
        return None

    def _key_of_the_environment(self, row: ProviderRow) -> str | None:
        for name in row.key_env:
            if (text := self.reader.environ.get(name, "").strip()) and self._fit(row, text):
                try:
                    return str(SECRET.read(text))
                except Unfit:
                    self.reader.complain(name, text, SECRET.expected, source=self.reader.place_of(name), kind=SECRET)
        return None

    def _near_providers(self, name: str) -> str:
        return f"{name!r} is no provider we know{did_you_mean(name, list(catalog.names()))}"


def _envelope(body: Mapping[str, Any]) -> Envelope:
    return Envelope(tuple(body.get("omits", ())), body.get("adds", {}), body.get("betas", ""))


def dormant(config: Config) -> dict[str, Provider]:
    """The known providers that are not configured, as they would be: for a request that brings a key and, where none is known, a place."""
    tables = ProviderTables(Reader({}, {}, "", {}))
    found: dict[str, Provider] = {}
    for name, row in catalog.providers().items():
        if name not in config.providers:
            made = tables.provider(replace(row, base_url=row.base_url or NO_PLACE, on_request=False), None, config)
            if made is not None:
                found[name] = replace(made, base_url=made.base_url.removeprefix(NO_PLACE))
    return found


def _as_url(text: str, known: str) -> str:
    """OLLAMA_HOST is often a bare host, with or without a port; the missing parts are those of the known base URL."""
    if "://" not in text:
        text = f"http://{text}"
    has_port = re.search(r":\d+(/|$)", text) is not None
    port = re.search(r":\d+", known)
    return text if has_port or port is None else text.rstrip("/") + port[0]


def with_path(place: str, row: ProviderRow) -> str:
    """`place`, and where it is a bare host the path at which this kind of API usually lies (`/v1` for OpenAI's and its likes)."""
    _, slash, path = place.partition("://")[2].partition("/")
    if row.api_version and path == "openai":
        return place.removesuffix("/openai")
    if slash:
        return place
    if row.base_url:
        _, _, known = row.base_url.partition("://")[2].partition("/")
        return f"{place}/{known}" if known else place
    return place if row.api_version or not any(dialect.startswith("openai.") for dialect in row.dialects) else f"{place}/v1"
