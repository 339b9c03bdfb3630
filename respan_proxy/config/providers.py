"""Owns the configured value of a provider: where it is, what it speaks, how it knows us, and the URLs that follow from that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from respan_proxy.config.balancing import MAX_WAIT_S, Pick
from respan_proxy.dialects.catalog import NOTHING, Globs
from respan_proxy.errors import RequestRejected

CallerKeys = Literal["forward", "never"]

# What a base URL may carry as its last segment although the endpoint's path brings a version of its own.
_VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?$")


@dataclass(frozen=True, slots=True)
class Auth:
    """How a secret travels: `header: prefix + secret`; no header means that none is sent."""

    header: str | None = "Authorization"
    prefix: str = "Bearer "

    @classmethod
    def named(cls, scheme: str) -> Auth:
        """From `bearer`, `none` or a header's name."""
        match scheme.lower():
            case "bearer":
                return cls()
            case "none":
                return cls(None, "")
            case _:
                return cls(scheme, "")

    def __str__(self) -> str:
        if self.header is None:
            return "none"
        return "bearer" if self.prefix else self.header


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest waits on a provider, in seconds; there is no total limit on a stream that is alive.

    600 s to the first byte is what the OpenAI and Anthropic SDKs allow a whole request; reasoning models stay silent for minutes.
    """

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    silence_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a provider's wire differs from its dialect, or its doings from its likes'."""

    ask_usage: bool = True
    stores_responses: bool = False
    """It keeps Responses itself: what is stored there is asked for there."""
    counts_tokens: bool = True
    choiceless_chunks: bool = False
    typed_content: bool = False
    bare_names: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a reseller of a company's models changes of that company's body: members left out, members added, and where betas go."""

    omits: tuple[str, ...] = ()
    adds: Mapping[str, str] = field(default_factory=dict)
    betas: str = ""
    """The member that holds the list of the header `anthropic-beta`; empty: the header does."""

    def changes(self, members: Mapping[str, Any], betas: str | None) -> tuple[set[str], dict[str, Any]]:
        """(the members to remove, those to add) for a body with these members. What the caller wrote itself stays."""
        added: dict[str, Any] = dict(self.adds)
        if self.betas and betas:
            added[self.betas] = [beta.strip() for beta in betas.split(",") if beta.strip()]
        return set(self.omits), {name: value for name, value in added.items() if name not in members}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of several ways to the same provider: a key of its own, perhaps at a place of its own. Empty: as the provider has it.

    `models` are those it serves (empty: all), but for those in `exclude_models`; both are globs on the name that is sent.
    """

    name: str
    key: str | None = field(default=None, repr=False)
    base_url: str = ""
    api_version: str = ""
    weight: float = 1.0
    models: Globs = NOTHING
    exclude_models: Globs = NOTHING

    def serves(self, model: str | None) -> bool:
        if model is None:
            return True
        return (not self.models or self.models.match(model)) and not self.exclude_models.match(model)


@dataclass(frozen=True, slots=True)
class Provider:
    """A company's API, or a server of your own: where it is, what it speaks, how it knows us."""

    name: str
    base_url: str = ""
    dialects: tuple[str, ...] = ("openai.chat",)
    auth: Auth = Auth()
    key: str | None = field(default=None, repr=False)
    key_env: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trace_context: bool = False
    """It is told of what trace a call is a part. Others are told nothing of traces."""
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    timeouts: Timeouts = Timeouts()
    request_bytes: int = 64_000_000
    quirks: Quirks = Quirks()
    caller_keys: CallerKeys = "forward"
    key_pattern: Globs = NOTHING
    bearer_keys: Globs = NOTHING
    families: Globs = NOTHING
    models: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    stream_paths: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, Envelope] = field(default_factory=dict)
    """By the path that is asked for in the provider's dialect: `/v1/messages`."""
    dialect_models: Mapping[str, Globs] = field(default_factory=dict)
    """Where it speaks several dialects, but each with some of its models only."""
    auth_also: str = ""
    """A second header that carries the key."""
    token_command: tuple[str, ...] = field(default=(), repr=False)
    """A program and its arguments that print a bearer token."""
    key_form: str = ""
    """What its key must be, where people bring something else."""
    version: str = ""
    api_version: str = ""
    project: str = ""
    location: str = ""
    deployments: tuple[Deployment, ...] = ()
    """Where there are several keys or places: all of them; a `key` beside them is one too, named `default`."""
    pick: Pick = "weighted"
    """Which of the deployments is asked first."""
    max_concurrency: int = 0
    """Calls at a time, 0: as many as come. A further one waits `max_wait_s` for its turn."""
    max_wait_s: float = MAX_WAIT_S
    placed: bool = False
    """Its base URL is the user's own, not the one we know."""
    built_in: bool = False
    """Answers in this process."""

    @property
    def usable(self) -> bool:
        """Whether a call can be made without a credential of the caller's."""
        return self.built_in or self.has_key or self.auth.header is None

    @property
    def has_key(self) -> bool:
        """Whether it has a key of its own, or a command that prints one."""
        return self.key is not None or bool(self.token_command)

    def speaks(self, dialect: str, model: str | None = None) -> bool:
        """Whether it is asked in a dialect; of a model, whether that one is."""
        if dialect not in self.dialects:
            return False
        names = self.dialect_models.get(dialect) if model is not None else None
        return names is None or model is None or names.match(model)

    def url(
        self,
        path: str,
        model: str | None = None,
        query: str = "",
        *,
        version: str | None = None,
        place: tuple[str, str] | None = None,
        streams: bool = False,
    ) -> str:
        """The absolute URL of an endpoint's path template (`/chat/completions`, `/v1/messages`, `/{version}/models/{model}:verb`).

        `query` is appended as it is; `model` is percent-encoded; `place`, a caller's project and location at Vertex, stands for ours.
        RequestRejected for a model name that would climb out of its path.
        """
        for start, instead in (*self.stream_paths.items(), *self.paths.items()) if streams else self.paths.items():
            if path.startswith(start) and path[len(start) : len(start) + 1] in ("", "/", ":"):
                path = instead + path[len(start) :]
                break
        # Templates that bring their version go below the version a base URL may end with: `.../v1` + `/v1/messages`.
        base = _VERSION.sub("", self.base_url) if path.startswith(("/v1/", "/{version}/")) else self.base_url
        if "{" in path:
            project, location = self.project, self.location
            if place is not None and "{location}" in path:
                project, location = place
                if not self.placed:  # at Google's own address each region has a host
                    base = base.replace(f"//{_region(self.location)}", f"//{_region(location)}", 1)
            path = self._fill(path, model, version or self.version, project, location)
        if self.api_version and "api-version=" not in query:
            query = f"api-version={self.api_version}&{query}" if query else f"api-version={self.api_version}"
        return f"{base}{path}?{query}" if query else base + path

    def _fill(self, path: str, model: str | None, version: str, project: str, location: str) -> str:
        if "{project}" in path and not project:
            raise RequestRejected(f"provider {self.name!r} has no project: set providers.{self.name}.project or GOOGLE_CLOUD_PROJECT")
        path = path.replace("{version}", version).replace("{project}", project).replace("{location}", location)
        if model is None or "{model}" not in path:
            return path
        if ".." in model.split("/"):
            raise RequestRejected(f"{model!r} is no model name: '..' would lead out of the provider's path", param="model")
        if model.startswith(("models/", "tunedModels/")):
            # Google's resource names bring their collection: `models/x`, `tunedModels/x`.
            path = path.replace("models/{model}", "{model}")
        # A slash stays where names have several segments; an Azure deployment's name and Bedrock's ARNs are one segment.
        kept = "@" if "/deployments/{model}" in path or path.startswith("/model/{model}/") else "@/"
        return path.replace("{model}", quote(model, safe=kept))


def _region(location: str) -> str:
    """What stands in front of the host's name at Vertex."""
    return "" if location == "global" else f"{location}-"
