"""Owns what can be configured: values with defaults, the table of options, and `parse`, which reports every mistake at once."""

from respan_proxy.config.balancing import Breaker, Group, Member, Pick
from respan_proxy.config.dotenv import parse_env_file
from respan_proxy.config.exports import Export
from respan_proxy.config.parsing import parse
from respan_proxy.config.providers import Auth, Deployment, Provider, Quirks, Timeouts
from respan_proxy.config.values import (
    ANYTHING,
    Allowance,
    Budgets,
    Cache,
    Config,
    Echo,
    Faults,
    Images,
    Key,
    Limits,
    Listen,
    Log,
    ModelRules,
    Retention,
    Retry,
    State,
    Telemetry,
    digest,
    is_loopback,
)

__all__ = [
    "ANYTHING",
    "Allowance",
    "Auth",
    "Breaker",
    "Budgets",
    "Cache",
    "Config",
    "Deployment",
    "Echo",
    "Export",
    "Faults",
    "Group",
    "Images",
    "Key",
    "Limits",
    "Listen",
    "Log",
    "Member",
    "ModelRules",
    "Pick",
    "Provider",
    "Quirks",
    "Retention",
    "Retry",
    "State",
    "Telemetry",
    "Timeouts",
    "digest",
    "is_loopback",
    "parse",
    "parse_env_file",
]
