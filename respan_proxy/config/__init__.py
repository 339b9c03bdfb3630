"""Owns what can be configured: values with defaults, the table of options, and `parse`, which reports every mistake at once."""

from respan_proxy.config.dotenv import parse_env_file
from respan_proxy.config.parsing import parse
from respan_proxy.config.values import (
    Auth,
    Cache,
    Config,
    Deployment,
    Echo,
    Images,
    Key,
    Limits,
    Listen,
    Log,
    ModelRules,
    Provider,
    Quirks,
    Retention,
    Retry,
    State,
    Timeouts,
    digest,
    is_loopback,
)

__all__ = [
    "Auth",
    "Cache",
    "Config",
    "Deployment",
    "Echo",
    "Images",
    "Key",
    "Limits",
    "Listen",
    "Log",
    "ModelRules",
    "Provider",
    "Quirks",
    "Retention",
    "Retry",
    "State",
    "Timeouts",
    "digest",
    "is_loopback",
    "parse",
    "parse_env_file",
]
