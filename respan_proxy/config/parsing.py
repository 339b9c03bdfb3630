"""Owns `parse`: a TOML document and an environment in, one complete Config out, or every mistake at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from respan_proxy.config.balancing import Group
from respan_proxy.config.export_tables import exports
from respan_proxy.config.kinds import Unfit
from respan_proxy.config.options import CUSTOMER, FLAT, GROUP, KEYS, OPTIONS, PROFILES, ROUTE, SECTIONS, Option, in_section
from respan_proxy.config.provider_tables import PREFIX, ProviderTables, dormant
from respan_proxy.config.reading import Reader, did_you_mean, quoted, variable_name
from respan_proxy.config.values import Allowance, Config, Key, ModelRules, digest
from respan_proxy.dialects import catalog
from respan_proxy.dialects.profiles import Rule
from respan_proxy.errors import ConfigError

COMMAND_LINE = "command line"
NOWHERE_ELSE: Mapping[str, str] = {}
FLAGS = {"listen": "server.listen", "database": "store.database"}
KEYS_VARIABLE = f"{PREFIX}KEYS"
LISTEN_VARIABLE = next(option.variable for option in OPTIONS if option.path == FLAGS["listen"])


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
    return _Parser(Reader(mapping, environ, source, places), flags or {}, platform).config()


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
    """The sections one after the other; what is wrong is kept until the end."""

    def __init__(self, reader: Reader, flags: Mapping[str, str], platform: str) -> None:
        self.reader = reader
        self.flags = flags
        self.platform = platform

    def config(self) -> Config:
        self.reader.unknown(self.reader.mapping, SECTIONS, "")
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
        config = replace(
            config,
            keys=self._keys(),
            exports=exports(self.reader, self._rows("export")),
            customers=self._customers(),
            models=self._models(),
            routes=self._routes(),
            groups=self._groups(),
            providers=ProviderTables(self.reader).providers(config),
        )
        config = replace(config, profiles=tuple(self._profiles(config)), dormant=dormant(config))
        self._variables(config)
        self._reachable_only_with_keys(config)
        self._a_place_of_its_own(config)
        if self.reader.problems:
            raise ConfigError(self.reader.problems)
        return replace(config, warnings=tuple(self.reader.warnings))

    # plain sections

    def _plain_options(self) -> dict[Option, Any]:
        given: dict[Option, Any] = {}
        for section in dict.fromkeys(option.section for option in OPTIONS):
            table = self.reader.table(section)
            self.reader.unknown(table, [option.name for option in in_section(section)], section)
            for option in in_section(section):
                found = self.reader.read(table, option, option.path)
                if found is not None:
                    given[option] = found
        for option in OPTIONS:
            if option.variable and (text := self.reader.environ.get(option.variable)):
                self._put(given, option, text, self.reader.place_of(option.variable), option.variable)
        for flag, path in FLAGS.items():
            if text := self.flags.get(flag):
                self._put(given, next(option for option in OPTIONS if option.path == path), text, COMMAND_LINE, f"--{flag}")
        return given

    def _put(self, given: dict[Option, Any], option: Option, text: str, source: str, key: str) -> None:
        try:
            given[option] = option.kind.read(text)
        except Unfit:
            self.reader.complain(key, text, option.kind.expected, source=source)

    def _database(self, given: str) -> str:
        if not given:
            return default_database(self.reader.environ, self.platform)
        if given == "~" or given.startswith("~/"):
            return (self.reader.environ.get("HOME") or "~") + given[1:]
        return given

    # [[keys]]

    def _keys(self) -> tuple[Key, ...]:
        found: list[Key] = []
        for where, row in self._rows("keys"):
            self.reader.unknown(row, [option.name for option in KEYS], where)
            value = {option.name: self.reader.read(row, option, f"{where}.{option.name}") for option in KEYS}
            if value["name"] is None and "name" not in row:
                self.reader.complain(f"{where}.name", None, "a name for the key")
            if ("key" in row) == ("digest" in row):
                self.reader.complain(
                    f"{where}.key", None, "either key or digest, and not both", found="both" if "key" in row else "neither"
                )
            elif (hashed := value["digest"] or (value["key"] and digest(value["key"]))) and value["name"]:
                found.append(Key(value["name"], hashed, value["environment"] or None, bool(value["is_admin"]), _allowance(value)))
        if self.reader.environ.get(KEYS_VARIABLE):
            found = self._keys_of_the_environment()
        for index, key in enumerate(found):
            if any(key.name == other.name for other in found[:index]):
                self.reader.complain("keys", key.name, "a name that no other key has")
            if any(key.digest == other.digest for other in found[:index]):
                self.reader.complain(
                    "keys", None, "a key that no other entry has", found=f"the same key under the names {key.name!r} and another"
                )
        return tuple(found)

    def _keys_of_the_environment(self) -> list[Key]:
        found: list[Key] = []
        variable = KEYS_VARIABLE
        for number, entry in enumerate(filter(None, map(str.strip, self.reader.environ[variable].split(","))), 1):
            match entry.split(":"):
                case [name, key] if name and key:
                    found.append(Key(name, digest(key)))
                case [name, key, environment] if name and key and environment:
                    found.append(Key(name, digest(key), environment))
                case parts:
                    where = f"{variable}, entry {number}"
                    self.reader.complain(
                        where,
                        None,
                        "name:key or name:key:environment",
                        found=f"{len(parts)} parts, or an empty one",
                        source=self.reader.place_of(variable),
                    )
        return found

    # [customers."GLOB"]

    def _customers(self) -> dict[str, Allowance]:
        return {glob: _allowance(said) for glob, said in self._globbed("customers", CUSTOMER)}

    # [models]

    def _models(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, to in self.reader.table("models").items():
            if isinstance(to, str) and to.strip():
                found[str(name)] = to.strip()
            else:
                self.reader.complain(f"models.{quoted(name)}", to, 'a model name or "provider/model"')
        for name in found:
            seen = {name}
            to = found[name]
            while to in found and to not in seen:
                seen.add(to)
                to = found[to]
            if to in seen and to != found.get(to):
                self.reader.complain(f"models.{quoted(name)}", found[name], "a name that does not lead back here")
        return found

    # [routes."GLOB"]

    def _routes(self) -> tuple[ModelRules, ...]:
        found = tuple(ModelRules(glob, **said) for glob, said in self._globbed("routes", ROUTE))
        for rules in found:
            if rules.simulate is not None:
                self.reader.warnings.append(f"routes.{quoted(rules.glob)}.simulate: calls for these models go wrong on purpose")
        return found

    def _globbed(self, section: str, options: Sequence[Option]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables of `[section."GLOB"]`, in their order: what each says, under the options' names."""
        for glob, table in self.reader.table(section).items():
            where = f"{section}.{quoted(glob)}"
            if not isinstance(table, Mapping):
                self.reader.complain(where, table, "a table of options")
                continue
            self.reader.unknown(table, [option.name for option in options], where)
            said = {option.name: self.reader.read(table, option, f"{where}.{option.name}") for option in options}
            yield str(glob), {name: value for name, value in said.items() if value is not None}

    # [groups.NAME]

    def _groups(self) -> dict[str, Group]:
        found: dict[str, Group] = {}
        tables = self.reader.table("groups")
        for name, table in tables.items():
            where = f"groups.{quoted(name)}"
            if not isinstance(table, Mapping):
                self.reader.complain(where, table, "a table of options")
                continue
            self.reader.unknown(table, [option.name for option in GROUP], where)
            said = {option.name: self.reader.read(table, option, f"{where}.{option.name}") for option in GROUP}
            if said["models"] is None:
                if "models" not in table:
                    self.reader.complain(f"{where}.models", None, next(option.kind.expected for option in GROUP if option.name == "models"))
                continue
            for member in said["models"]:
                if member.model in tables:
                    self.reader.complain(f"{where}.models", member.model, "models: a group holds no groups")
            found[str(name)] = Group(str(name), said["models"], said["pick"] or "weighted")
        return found

    # [[profiles]]

    def _profiles(self, config: Config) -> Iterator[Rule]:
        known = {*catalog.providers(), *config.providers}
        for where, row in self._rows("profiles"):
            self.reader.unknown(row, [option.name for option in PROFILES], where)
            facts = {option.name: self.reader.read(row, option, f"{where}.{option.name}") for option in PROFILES if option.name in row}
            for name in facts.get("providers") or ():
                plain = name.lstrip("!")
                if plain not in known and not any(mark in plain for mark in "*?["):
                    instead = catalog.names().get(plain)
                    near = f"; did you mean {instead}?" if instead else did_you_mean(plain, list(known))
                    self.reader.complain(f"{where}.providers", plain, f"a provider's name, or a glob{near}")
            yield Rule.of({name: value for name, value in facts.items() if value is not None})

    def _rows(self, section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The tables of a section that has many, and what a complaint calls each: `keys[1]`."""
        rows = self.reader.mapping.get(section, [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            self.reader.complain(section, rows, f"[[{section}]] tables", secret=True)
            return
        yield from ((f"{section}[{number}]", row) for number, row in enumerate(rows, 1))

    # the whole

    def _variables(self, config: Config) -> None:
        """Variables of ours that mean nothing are mistakes too: a typing error in a sidecar's environment is found at once."""
        known = {option.variable for option in OPTIONS if option.variable} | {f"{PREFIX}CONFIG", KEYS_VARIABLE}
        places = {f"{PREFIX}{variable_name(name)}_BASE_URL" for name in (*catalog.providers(), *config.providers)}
        for name in self.reader.environ:
            if name.startswith(PREFIX) and name not in known and name not in places:
                self.reader.complain(
                    name,
                    None,
                    f"a variable that exists{did_you_mean(name, [*known, *places])}",
                    found="an unknown variable",
                    source=self.reader.place_of(name),
                )

    def _a_place_of_its_own(self, config: Config) -> None:
        if config.telemetry.listen == config.listen and (config.listen.port or config.listen.path):
            self.reader.complain(
                "telemetry.listen", str(config.listen), "another address than server.listen, which takes spans without this option"
            )

    def _reachable_only_with_keys(self, config: Config) -> None:
        beside = config.telemetry.listen
        is_beside = config.listen.is_loopback and beside is not None and not beside.is_loopback
        if (
            (config.listen.is_loopback and not is_beside)
            or config.keys
            or any(
                problem.startswith((f"{self.reader.source}: keys", f"{self.reader.place_of(KEYS_VARIABLE)}: {KEYS_VARIABLE}"))
                for problem in self.reader.problems
            )
        ):
            return
        if is_beside:
            source, key = self.reader.source, "telemetry.listen"
        elif self.flags.get("listen"):
            source, key = COMMAND_LINE, "--listen"
        elif self.reader.environ.get(LISTEN_VARIABLE):
            source, key = self.reader.place_of(LISTEN_VARIABLE), LISTEN_VARIABLE
        else:
            source, key = self.reader.source, "server.listen"
        line = 'keys = [{ name = "me", key = "choose-a-long-secret" }]'
        self.reader.complain(
            key,
            str(beside if is_beside else config.listen),
            f"a loopback address, or keys, because whoever reaches it could spend your money and read your logs. "
            f"Add as the first line of {self.reader.source}:  {line}  or set {KEYS_VARIABLE}=me:choose-a-long-secret",
            source=source,
        )


def _allowance(said: Mapping[str, Any]) -> Allowance:
    return Allowance(**{name: said.get(name) for name in Allowance.__slots__})
