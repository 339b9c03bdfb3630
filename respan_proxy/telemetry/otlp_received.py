"""What both encodings of OTLP come to: the spans that can be read, and of the others how many there are and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from respan_proxy.telemetry.spans import Span
from respan_proxy.wire.secret_texts import without_secrets

# Lists and objects within an attribute. Protobuf's own limit (100 messages) is half as many again; nobody nests ten.
MAX_DEPTH: Final = 32
# One span, as it came: Respan's documented cap.
SPAN_BYTES: Final = 20_000_000

NO_SPAN: Final = "0" * 16

# Of many bad spans the first ones say what is wrong with the program that sent them.
_TOLD: Final = 3
_NAME_CHARS: Final = 60


class Unreadable(ValueError):
    """A span, or a part of one, that is not what OTLP says: the message names the member, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Received:
    """The spans of one request, how many there were beside them, and what their sender should hear; empty when all is well."""

    spans: list[Span]
    rejected: int = 0
    message: str = ""


@dataclass(slots=True)
class Tally:
    """A request while it is read."""

    spans: list[Span] = field(default_factory=list)
    rejected: int = 0
    problems: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    """What was left out without costing a span."""

    def reject(self, where: str, name: object, why: object) -> None:
        self.rejected += 1
        if len(self.problems) < _TOLD:
            named = f" ({without_secrets(name)[:_NAME_CHARS]!r})" if isinstance(name, str) and name else ""
            self.problems.append(f"{where}{named}: {without_secrets(str(why))}")

    def leave_out(self, where: str, why: object) -> None:
        if len(self.losses) < _TOLD:
            self.losses.append(f"{where} was left out: {without_secrets(str(why))}")

    def received(self) -> Received:
        said = list(self.losses)
        if self.rejected:
            more = f"; and {self.rejected - len(self.problems)} more" if self.rejected > len(self.problems) else ""
            total = self.rejected + len(self.spans)
            said.append(f"{self.rejected} of {total} spans cannot be read: {'; '.join(self.problems)}{more}")
        return Received(self.spans, self.rejected, "; ".join(said))


def times(start_ns: int, end_ns: int) -> tuple[int, int]:
    """Start and end of a span; where only one is said it is both. `Unreadable` when neither is."""
    if not start_ns and not end_ns:
        raise Unreadable("startTimeUnixNano: found neither start nor end, expected nanoseconds of the epoch")
    return start_ns or end_ns, end_ns or start_ns
