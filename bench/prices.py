"""`make prices`: write respan_proxy/respan/prices.json from the data of the genai-prices package (MIT), dated and sourced."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from genai_prices import types
from genai_prices.data import providers

TARGET = Path(__file__).parents[1] / "respan_proxy" / "respan" / "prices.json"

# What a row's usage can tell apart; prices of audio, images, searches and pages have nothing to be multiplied with.
KINDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "write",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "kilo_requests",
}


def main() -> None:
    table = {
        "source": f"genai-prices {version('genai-prices')} (MIT), https://github.com/pydantic/genai-prices",
        "date": datetime.now(UTC).date().isoformat(),
        "unit": "US dollars per million tokens; kilo_requests: per thousand requests; [base, [above, price], ...]: by length of the prompt",
        "providers": {provider.id: _provider(provider) for provider in providers},
    }
    TARGET.write_bytes(_lines(table))
    models = sum(len(provider.models) for provider in providers)
    sys.stdout.write(f"{TARGET}: {len(providers)} providers, {models} models, {TARGET.stat().st_size // 1024} KB\n")


def _lines(table: dict[str, Any]) -> bytes:
    """JSON with a line per model, so that a new price is a line of a diff."""
    parts = []
    for provider_id, provider in table["providers"].items():
        models = b",\n".join(orjson.dumps(model) for model in provider["models"])
        rest = b"".join(b'"%s":%s,' % (name.encode(), orjson.dumps(value)) for name, value in provider.items() if name != "models")
        parts.append(b'%s:{%s"models":[\n%s\n]}' % (orjson.dumps(provider_id), rest, models))
    head = b",\n".join(b"%s:%s" % (orjson.dumps(name), orjson.dumps(value)) for name, value in table.items() if name != "providers")
    return b'{%s,\n"providers":{\n%s\n}}\n' % (head, b",\n".join(parts))


def _provider(provider: types.Provider) -> dict[str, Any]:
    return {"fallback": provider.fallback_model_providers or [], "models": [_model(model) for model in provider.models]}


def _model(model: types.ModelInfo) -> dict[str, Any]:
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    return {"id": model.id, "match": _clause(model.match), "prices": [_conditional(price) for price in prices]}


def _conditional(price: types.ConditionalPrice) -> dict[str, Any]:
    written: dict[str, Any] = {}
    match price.constraint:
        case types.StartDateConstraint(start_date=start):
            written["from"] = start.isoformat()
        case types.TimeOfDateConstraint(start_time=start, end_time=end):
            if start.utcoffset() or end.utcoffset():
                raise ValueError(f"a time of day that is not UTC: {price.constraint}")
            written["between"] = [start.isoformat("minutes")[:5], end.isoformat("minutes")[:5]]
    for name, value in price.prices.__dict__.items():
        if name in KINDS and value is not None:
            written[KINDS[name]] = _price(value)
    return written


def _price(value: Decimal | types.TieredPrices) -> Any:
    if isinstance(value, types.TieredPrices):
        return [float(value.base), *([tier.start, float(tier.price)] for tier in value.tiers)]
    return float(value)


def _clause(clause: Any) -> dict[str, Any]:
    match clause:
        case types.ClauseStartsWith(starts_with=text):
            return {"starts_with": text.lower()}
        case types.ClauseEndsWith(ends_with=text):
            return {"ends_with": text.lower()}
        case types.ClauseContains(contains=text):
            return {"contains": text.lower()}
        case types.ClauseEquals(equals=text):
            return {"equals": text.lower()}
        case types.ClauseRegex(regex=pattern):
            return {"regex": pattern}
        case types.ClauseOr(or_=clauses):
            return {"or": [_clause(inner) for inner in clauses]}
        case types.ClauseAnd(and_=clauses):
            return {"and": [_clause(inner) for inner in clauses]}
    raise ValueError(f"unknown clause {clause!r}")


if __name__ == "__main__":
    main()
