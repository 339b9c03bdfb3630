"""Owns the configured values of passing on: where an export goes, in which form, and what is known about collectors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

Encoding = Literal["protobuf", "json"]
Compression = Literal["gzip", "none"]
PassedContent = Literal["none", "full"]
Vocabulary = Literal["latest", "both"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

# OTLP/HTTP below a collector's base URL (opentelemetry-proto, docs/specification.md).
OTLP_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Export:
    """Where every call and span goes as OTLP, beside our own database.

    `content` is "none" unless somebody asks: what was said leaves this machine only by their own word (the GenAI conventions say so too).
    The 20,000 waiting are ids, 3 MB; OpenTelemetry's own exporters let 2,048 spans wait. `wait_s` is how long a call may be claimed by a
    span of the app, which Respan's and OpenTelemetry's exporters send 5 s after it ended at the latest.
    """

    name: str
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    encoding: Encoding = "protobuf"
    compression: Compression = "gzip"
    content: PassedContent = "none"
    vocabulary: Vocabulary = "latest"
    resource: Mapping[str, str] = field(default_factory=dict)
    max_waiting: int = 20_000
    wait_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known about a collector: its place and the variables that move it, its path, and how it knows us.

    `keys` are the variables of the key; two make a user name and a password (Basic). `vocabulary`: the names that it documents.
    """

    base_url: str
    path: str = OTLP_PATH
    place_env: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    needs_key: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    encodings: tuple[Encoding, ...] = ENCODINGS
    vocabulary: Vocabulary = "latest"

    def endpoint(self, given: str) -> str:
        """The URL to post to, for a place that may be the host alone or any beginning of the path below it; of a collector that we know by
        name, the place may be below a path of its own (a space of Phoenix's, a Langfuse behind a proxy)."""
        given = given.rstrip("/")
        path = urlsplit(given).path
        is_base = self.base_url and not path.endswith("/traces")
        for at in sorted((at for at, letter in enumerate(self.path) if letter == "/"), reverse=True):
            if path == self.path[:at] or (is_base and path.endswith(self.path[:at])):
                return given + self.path[at:]
        return given


# A collector of nobody we know: only the path is.
PLAIN = Preset("")

PRESETS: Mapping[str, Preset] = {
    # langfuse.com/integrations/native/opentelemetry: Basic, both encodings; with version 4 spans are shown at once, else within 10 minutes.
    "langfuse": Preset(
        "https://cloud.langfuse.com",
        "/api/public/otel/v1/traces",
        ("LANGFUSE_BASE_URL", "LANGFUSE_HOST"),
        ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"),
        headers={"x-langfuse-ingestion-version": "4"},
    ),
    # arize.com/docs/phoenix; its server answers 415 to JSON, and wants a key only where authentication is switched on.
    "phoenix": Preset(
        "http://localhost:6006",
        OTLP_PATH,
        ("PHOENIX_COLLECTOR_ENDPOINT",),
        ("PHOENIX_API_KEY",),
        needs_key=False,
        encodings=("protobuf",),
    ),
    # jaegertracing.io, grafana.com/docs/tempo: the port of OTLP over HTTP.
    "jaeger": Preset("http://localhost:4318"),
    "tempo": Preset("http://localhost:4318"),
    # respan.ai/docs/apis/observe/traces/otlp-ingest, which names the older counts of tokens. RESPAN_BASE_URL is not read: it is often us.
    "respan": Preset("https://api.respan.ai", "/api/v2/traces", (), ("RESPAN_API_KEY",), vocabulary="both"),
}
