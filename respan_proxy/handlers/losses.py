"""What a translation lost is said, refused or kept quiet: `on_loss`, from the config or the request."""

from __future__ import annotations

from collections.abc import Callable

from respan_proxy.config import Config
from respan_proxy.dialects.request import Losses
from respan_proxy.errors import Untranslatable
from respan_proxy.exchange import Exchange


def account_for(losses: Losses, exchange: Exchange, config: Config) -> None:
    """Put the notices where the caller and the row see them; `Untranslatable` (400) when losses are not to be borne."""
    notices = losses.notices
    if not notices:
        return
    policy = exchange.params.values.get("on_loss") or config.on_loss
    if policy == "error":
        first = notices[0].partition(":")[0]
        raise Untranslatable(
            f"this request cannot reach the model whole, and on_loss is 'error': {', '.join(notices)}",
            param=first,
            code="lossy_translation",
        )
    (exchange.quiet_warnings if policy == "silent" else exchange.warnings).extend(notices)


OF_A_REPLY = "reply."


def lost_in_reply(exchange: Exchange, config: Config, *, streamed: bool) -> Callable[[str], None]:
    """What is to hear of each thing that a reply said and the caller cannot be told. A reply is never refused: it is there, and paid for.

    Of a stream the row alone tells: its header is gone by then.
    """
    policy = exchange.params.values.get("on_loss") or config.on_loss
    is_quiet = streamed or policy == "silent"

    def lost(what: str) -> None:
        told = exchange.quiet_warnings if is_quiet else exchange.warnings  # asked each time: they are others once the view is adopted
        notice = f"{OF_A_REPLY}{what}:dropped"
        if notice not in told:
            told.append(notice)

    return lost
