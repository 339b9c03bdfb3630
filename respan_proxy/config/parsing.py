"""Owns `parse`: a TOML document and an environment in, one complete Config out, or every mistake at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from respan_proxy.config.kinds import SECRET, URL, Kind, Unfit
from respan_proxy.config.options import FLAT, KEYS, OPTIONS, PROVIDER, ROUTE, SECTIONS, Option, in_section
from respan_proxy.config.values import Auth, Config, Key, ModelRules, Provider, Quirks, Timeouts, digest
from respan_proxy.dialects import catalog
from respan_proxy.dialects.catalog import Globs, ProviderRow
from respan_proxy.errors import ConfigError

ENVIRONMENT = "environment"
COMMAND_LINE = "command line"
NOWHERE_ELSE: Mapping[str, str] = {}
FLAGS = {"listen": "server.listen", "database": "store.database"}
_PREFIX = "RESPAN_PROXY_"
KEYS_VARIABLE = f"{_PREFIX}KEYS"
LISTEN_VARIABLE = next(option.variable for option in OPTIONS if option.path == FLAGS["listen"])
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def parse(
    mapping: Mapping[str, Any],
    environ: Mapping[str, str],
    source: str = "config.toml",
    flags: Mapping[str, str] | None = None,
    *,
    places: Mapping[str, str] = NOWHERE_ELSE,
    platform: str = sys.platform,
) -> Config:
    """The configuration out of a parsed TOML file, the environment (`.env` already merged in) and the flags `listen` and `database`.

    Flags win over variables, variables over the file. For complaints: `source` is the file's name, `places` says of variables that are
    not of the environment itself where they stand. Raises ConfigError with all mistakes.
    """
    return _Parser(mapping, environ, source, flags or {}, places, platform).config()


def default_database(environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """The database in the platform's data directory; in the current directory when there is no home."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    match platform:
        case "win32" if base := environ.get("LOCALAPPDATA"):
            folder = base
        case "darwin" if home:
            folder = f"{home}/Library/Application Support"
        case _ if base := environ.get("XDG_DATA_HOME"):
            folder = base
        case _ if home:
            folder = f"{home}/.local/share"
        case _:
            return Config().database
    return str(PurePath(folder) / "respan-proxy" / "respan-proxy.db")


class _Parser:
    """The mistakes and warnings found so far, and what they are found in."""

    def __init__(
        self,
        mapping: Mapping[str, Any],
        environ: Mapping[str, str],
        source: str,
        flags: Mapping[str, str],
        places: Mapping[str, str],
        platform: str,
    ) -> None:
        self.mapping = mapping
        self.environ = environ
        self.source = source
        self.flags = flags
        self.places = places
        self.platform = platform
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def config(self) -> Config:
        self._unknown(self.mapping, SECTIONS, "")
        given = self._plain_options()
        flat = {option.name: value for option, value in given.items() if option.section in FLAT}
        base = Config()
        nested = {
            section: replace(getattr(base, section), **{option.name: value for option, value in given.items() if option.section == section})
            for section in dict.fromkeys(option.section for option in OPTIONS)
            if section not in FLAT
        }
        flat["database"] = self._database(flat.get("database", ""))
        flat["default_model"] = flat.get("default_model") or None
        config = replace(base, **flat, **nested)
        config = replace(config, keys=self._keys(), models=self._models(), routes=self._routes(), providers=self._providers(config))
        self._variables(config)
        self._reachable_only_with_keys(config)
        if self.problems:
            raise ConfigError(self.problems)
        return replace(config, warnings=tuple(self.warnings))

    # plain sections

    def _plain_options(self) -> dict[Option, Any]:
        given: dict[Option, Any] = {}
        for section in dict.fromkeys(option.section for option in OPTIONS):
            table = self._table(section)
            self._unknown(table, [option.name for option in in_section(section)], section)
            for option in in_section(section):
                found = self._read(table, option, option.path)
                if found is not None:
                    given[option] = found
        for option in OPTIONS:
            if option.variable and (text := self.environ.get(option.variable)):
                self._put(given, option, text, self._place_of(option.variable), option.variable)
        for flag, path in FLAGS.items():
            if text := self.flags.get(flag):
                self._put(given, next(option for option in OPTIONS if option.path == path), text, COMMAND_LINE, f"--{flag}")
        return given

    def _put(self, given: dict[Option, Any], option: Option, text: str, source: str, key: str) -> None:
        try:
            given[option] = option.kind.read(text)
        except Unfit:
            self._complain(key, text, option.kind.expected, source=source)

    def _database(self, given: str) -> str:
        if not given:
            return default_database(self.environ, self.platform)
        if given == "~" or given.startswith("~/"):
            return (self.environ.get("HOME") or "~") + given[1:]
        return given

    # [[keys]]

    def _keys(self) -> tuple[Key, ...]:
        found: list[Key] = []
        rows = self.mapping.get("keys", [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            self._complain("keys", rows, "[[keys]] tables", secret=True)
            rows = []
        for number, row in enumerate(rows, 1):
            where = f"keys[{number}]"
            self._unknown(row, [option.name for option in KEYS], where)
            value = {option.name: self._read(row, option, f"{where}.{option.name}") for option in KEYS}
            if value["name"] is None and "name" not in row:
                self._complain(f"{where}.name", None, "a name for the key")
            if ("key" in row) == ("digest" in row):
                self._complain(f"{where}.key", None, "either key or digest, and not both", found="both" if "key" in row else "neither")
            elif (hashed := value["digest"] or (value["key"] and digest(value["key"]))) and value["name"]:
                found.append(Key(value["name"], hashed, value["environment"] or None, bool(value["is_admin"])))
        if self.environ.get(KEYS_VARIABLE):
            found = self._keys_of_the_environment()
        for index, key in enumerate(found):
            if any(key.name == other.name for other in found[:index]):
                self._complain("keys", key.name, "a name that no other key has")
            if any(key.digest == other.digest for other in found[:index]):
                self._complain(
                    "keys", None, "a key that no other entry has", found=f"the same key under the names {key.name!r} and another"
                )
        return tuple(found)

    def _keys_of_the_environment(self) -> list[Key]:
        found: list[Key] = []
        variable = KEYS_VARIABLE
        for number, entry in enumerate(filter(None, map(str.strip, self.environ[variable].split(","))), 1):
            match entry.split(":"):
                case [name, key] if name and key:
                    found.append(Key(name, digest(key)))
                case [name, key, environment] if name and key and environment:
                    found.append(Key(name, digest(key), environment))
                case parts:
                    where = f"{variable}, entry {number}"
                    self._complain(
                        where,
                        None,
                        "name:key or name:key:environment",
                        found=f"{len(parts)} parts, or an empty one",
                        source=self._place_of(variable),
                    )
        return found

    # [models]

    def _models(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, to in self._table("models").items():
            if isinstance(to, str) and to.strip():
                found[str(name)] = to.strip()
            else:
                self._complain(f"models.{_quoted(name)}", to, 'a model name or "provider/model"')
        for name in found:
            seen = {name}
            to = found[name]
            while to in found and to not in seen:
                seen.add(to)
                to = found[to]
            if to in seen and to != found.get(to):
                self._complain(f"models.{_quoted(name)}", found[name], "a name that does not lead back here")
        return found

    # [routes."GLOB"]

    def _routes(self) -> tuple[ModelRules, ...]:
        found: list[ModelRules] = []
        for glob, table in self._table("routes").items():
            where = f"routes.{_quoted(glob)}"
            if not isinstance(table, Mapping):
                self._complain(where, table, "a table of options")
                continue
            self._unknown(table, [option.name for option in ROUTE], where)
            said = {option.name: self._read(table, option, f"{where}.{option.name}") for option in ROUTE}
            found.append(ModelRules(str(glob), **{name: value for name, value in said.items() if value is not None}))
        return tuple(found)

    # [providers.NAME]

    def _providers(self, config: Config) -> dict[str, Provider]:
        tables = self._table("providers")
        rows = catalog.providers()
        found: dict[str, Provider] = {}
        for name, row in rows.items():
            if row.built_in:
                found[name] = Provider(
                    name, dialects=row.dialects, auth=Auth.named(row.auth), request_bytes=config.limits.request_bytes, built_in=True
                )
                if name in tables:
                    self._complain(f"providers.{name}", tables[name], "another name: this one is built in")
            elif provider := self._provider(row, tables.get(name), config):
                found[name] = provider
        for name, table in tables.items():
            if name in rows:
                continue
            if not _NAME.fullmatch(str(name)):
                self._complain(f"providers.{_quoted(name)}", name, "a name of letters, digits, '_', '-' and '.'")
            elif known := catalog.names().get(name):
                self._complain(f"providers.{name}", name, f'"{known}", as this provider is called')
            elif provider := self._provider(ProviderRow(name, key_env=(f"{_variable(name)}_API_KEY",)), table, config):
                found[name] = provider
        return found

    def _provider(self, row: ProviderRow, table: object, config: Config) -> Provider | None:
        name = row.name
        where = f"providers.{name}"
        is_known = name in catalog.providers()
        if table is not None and not isinstance(table, Mapping):
            self._complain(where, table, "a table of options")
            return None
        given: Mapping[str, Any] = table or {}
        self._unknown(given, [option.name for option in PROVIDER], where)
        value = {option.name: self._read(given, option, f"{where}.{option.name}", row) for option in PROVIDER}
        place = self._place(row, value["base_url"])
        key = value["key"] or self._key_of_the_environment(row)
        if not place and not row.base_url:
            if table is not None and "base_url" not in given:
                self._complain(
                    f"{where}.base_url", None, f"{URL.expected} ({self._near_providers(name)})" if not is_known else URL.expected
                )
            return None
        if row.on_request and not place and key is None and table is None:
            return None
        project = value["project"] or self._first(row.project_env) or ""
        location = value["location"] or self._first(row.location_env) or row.location
        base_url = _with_path(place, row) if place else row.base_url
        base_url = base_url.replace("{region}", "" if location == "global" else f"{location}-")
        paths = row.paths if value["paths"] is None else {**row.paths, **value["paths"]}
        api_version = row.api_version if value["api_version"] is None else value["api_version"]
        if row.api_version and base_url.endswith("/openai/v1"):
            # Azure's newer surface is OpenAI's own: no deployments in the path, no api-version.
            paths, api_version = value["paths"] or {}, value["api_version"] or ""
        if "{project}" in "".join(paths.values()) and not project and (place or key or table is not None):
            self.warnings.append(
                f"{name}: no project is set ({where}.project or {' or '.join(row.project_env)}); its calls cannot be addressed"
            )
        auth = Auth.named(value["auth"] or row.auth)
        if auth.header is None and key is not None:
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
            proxy=value["proxy"],
            ca_file=value["ca_file"] or None,
            timeouts=Timeouts(*(value[limit] or getattr(config.timeouts, limit) for limit in ("connect_s", "first_byte_s", "silence_s"))),
            request_bytes=config.limits.request_bytes if value["request_bytes"] is None else value["request_bytes"],
            quirks=Quirks(ask_usage=row.ask_usage if value["ask_usage"] is None else value["ask_usage"]),
            caller_keys=value["caller_keys"] or config.caller_keys,
            key_pattern=Globs(row.key_pattern if value["key_pattern"] is None else value["key_pattern"]),
            bearer_keys=Globs(row.bearer_keys),
            families=Globs(row.families if value["families"] is None else value["families"]),
            models=value["models"] or (),
            paths=paths,
            version=row.version,
            api_version=api_version,
            project=project,
            location=location,
            placed=bool(place) and base_url != row.base_url,
        )

    def _place(self, row: ProviderRow, given: str | None) -> str | None:
        """Where the user says that a provider is: RESPAN_PROXY_<NAME>_BASE_URL, else the file, else a variable of the provider's own."""
        variable = f"{_PREFIX}{_variable(row.name)}_BASE_URL"
        for name in (variable, *(row.base_url_env if given is None else ())):
            if not (text := self.environ.get(name)):
                continue
            try:
                return str(URL.read(text if name == variable else _as_url(text, row.base_url)))
            except Unfit:
                self._complain(name, text, URL.expected, source=self._place_of(name))
        return given

    def _key_of_the_environment(self, row: ProviderRow) -> str | None:
        for name in row.key_env:
            if text := self.environ.get(name, "").strip():
                try:
                    return str(SECRET.read(text))
                except Unfit:
                    self._complain(name, text, SECRET.expected, source=self._place_of(name), kind=SECRET)
        return None

    def _first(self, variables: Iterable[str]) -> str | None:
        return next((self.environ[name] for name in variables if self.environ.get(name)), None)

    # the whole

    def _variables(self, config: Config) -> None:
        """Variables of ours that mean nothing are mistakes too: a typing error in a sidecar's environment is found at once."""
        known = {option.variable for option in OPTIONS if option.variable} | {f"{_PREFIX}CONFIG", KEYS_VARIABLE}
        places = {f"{_PREFIX}{_variable(name)}_BASE_URL" for name in (*catalog.providers(), *config.providers)}
        for name in self.environ:
            if name.startswith(_PREFIX) and name not in known and name not in places:
                self._complain(
                    name,
                    None,
                    f"a variable that exists{_did_you_mean(name, [*known, *places])}",
                    found="an unknown variable",
                    source=self._place_of(name),
                )

    def _reachable_only_with_keys(self, config: Config) -> None:
        if (
            config.listen.is_loopback
            or config.keys
            or any(
                problem.startswith((f"{self.source}: keys", f"{self._place_of(KEYS_VARIABLE)}: {KEYS_VARIABLE}"))
                for problem in self.problems
            )
        ):
            return
        if self.flags.get("listen"):
            source, key = COMMAND_LINE, "--listen"
        elif self.environ.get(LISTEN_VARIABLE):
            source, key = self._place_of(LISTEN_VARIABLE), LISTEN_VARIABLE
        else:
            source, key = self.source, "server.listen"
        line = 'keys = [{ name = "me", key = "choose-a-long-secret" }]'
        self._complain(
            key,
            str(config.listen),
            f"a loopback address, or keys, because whoever reaches it could spend your money and read your logs. "
            f"Add as the first line of {self.source}:  {line}  or set {KEYS_VARIABLE}=me:choose-a-long-secret",
            source=source,
        )

    # reading and complaining

    def _place_of(self, variable: str) -> str:
        return self.places.get(variable, ENVIRONMENT)

    def _table(self, section: str) -> Mapping[str, Any]:
        table = self.mapping.get(section, {})
        if isinstance(table, Mapping):
            return table
        self._complain(section, table, f"a table: [{section}]")
        return {}

    def _read(self, table: Mapping[str, Any], option: Option, where: str, row: ProviderRow | None = None) -> Any:
        """The option's value, or None when it is not there or not fit (then the complaint is noted)."""
        if option.name not in table:
            return None
        found = table[option.name]
        if isinstance(found, str) and found.startswith("env:"):
            variable = found[4:].strip()
            if not self.environ.get(variable):
                if row is not None and option.name == "key":
                    self.warnings.append(
                        f"{row.name}: {where} names the variable {variable}, which is not set; calls to it need a caller's key"
                    )
                else:
                    self._complain(where, found, f"the name of a variable that is set ({variable} is not)")
                return None
            found = self.environ[variable]
        try:
            return option.kind.read(found)
        except Unfit:
            self._complain(where, found, option.kind.expected, kind=option.kind)
            return None

    def _unknown(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table:
            if key not in known:
                path = f"{where}.{_quoted(key)}" if where else _quoted(key)
                self._complain(path, None, f"a known key{_did_you_mean(key, known) or ': ' + ', '.join(known)}", found="an unknown key")

    def _near_providers(self, name: str) -> str:
        return f"{name!r} is no provider we know{_did_you_mean(name, list(catalog.names()))}"

    def _complain(
        self,
        key: str,
        value: object,
        expected: str,
        *,
        found: str | None = None,
        source: str | None = None,
        kind: Kind | None = None,
        secret: bool = False,
    ) -> None:
        if found is None:
            found = _shown(value, hide=secret or (kind is not None and kind.secret))
        self.problems.append(f"{source or self.source}: {key}: found {found}, expected {expected}")


def _as_url(text: str, known: str) -> str:
    """OLLAMA_HOST is often a bare host, with or without a port; the missing parts are those of the known base URL."""
    if "://" not in text:
        text = f"http://{text}"
    has_port = re.search(r":\d+(/|$)", text) is not None
    port = re.search(r":\d+", known)
    return text if has_port or port is None else text.rstrip("/") + port[0]


def _with_path(place: str, row: ProviderRow) -> str:
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


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _quoted(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else f'"{text}"'


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # 3 ms, for the unlucky only

    near = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object, *, hide: bool) -> str:
    if value is None:
        return "nothing"
    kind = {bool: "a boolean", str: "a string", int: "a number", float: "a number", list: "a list", dict: "a table"}.get(
        type(value), "a value"
    )
    if hide or isinstance(value, Mapping):
        return kind
    text = repr(value)
    return f"{kind} {text if len(text) <= 80 else text[:77] + '...'}"
