"""What a translation lost is said, refused or kept quiet: `on_loss`, from the config or the request."""

from __future__ import annotations

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
