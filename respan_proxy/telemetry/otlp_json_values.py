"""Attribute values of OTLP/JSON -> what JSON can hold: every form of an AnyValue, as each exporter was seen to write it."""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from binascii import Error
from typing import Any, Final

from respan_proxy.telemetry.otlp_received import MAX_DEPTH, Unreadable

INTEGER = re.compile(r"-?[0-9]{1,20}")
_URL_SAFE = str.maketrans("-_", "+/")
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


def attributes(given: Any, depth: int) -> dict[str, Any]:
    """Of a list of `{key, value}`; the last one counts where a key comes twice."""
    found: dict[str, Any] = {}
    if given is None:
        return found
    if type(given) is not list:
        raise Unreadable(f"attributes: found {kind(given)}, expected a list of key and value")
    for pair in given:
        if type(pair) is not dict:
            raise Unreadable(f"attributes: found {kind(pair)}, expected objects with key and value")
        key, value = pair.get("key"), pair.get("value")
        if type(key) is not str:
            if key is not None:
                raise Unreadable(f"attributes: found a key that is {kind(key)}, expected text")
            key = ""
        if type(value) is dict and type(text := value.get("stringValue")) is str:
            found[key] = text
        else:
            found[key] = None if value is None else _value(value, key, depth)
    return found


def _value(given: Any, key: str, depth: int) -> Any:
    """An AnyValue. None when it holds nothing, or nothing that we know."""
    if type(given) is not dict:
        raise Unreadable(f"attribute {key[:60]!r}: found {kind(given)}, expected an object such as {{stringValue}}")
    for name, value in given.items():
        if value is None or (read := _VALUES.get(name)) is None:
            continue
        return read(value, key, depth)
    return None


def _string(value: Any, key: str, depth: int) -> str:
    if type(value) is not str:
        raise _unfit(key, "stringValue", value, "text")
    return value


def _bool(value: Any, key: str, depth: int) -> bool:
    if type(value) is not bool:
        raise _unfit(key, "boolValue", value, "true or false")
    return value


def _int(value: Any, key: str, depth: int) -> int:
    number = integer(value)
    if number is not None and type(value) is dict and number >= 1 << 63:
        number -= 1 << 64
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise _unfit(key, "intValue", value, "an integer of 64 bits")
    return number


def _double(value: Any, key: str, depth: int) -> float | str:
    number = value
    if type(value) is str:
        if value in _NO_NUMBERS:
            return value
        try:
            number = float(value)
        except ValueError:
            raise _unfit(key, "doubleValue", value, "a number") from None
    if type(number) is int:
        try:
            number = float(number)
        except OverflowError:  # hundreds of digits
            number = math.inf if number > 0 else -math.inf
    if type(number) is not float:
        raise _unfit(key, "doubleValue", value, "a number")
    return number if math.isfinite(number) else no_number(number)


def no_number(value: float) -> str:
    """What JSON has no number for, as protobuf's JSON spells it."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _array(value: Any, key: str, depth: int) -> list[Any]:
    values = _values(value, key, "arrayValue", depth)
    return [None if one is None else _value(one, key, depth + 1) for one in values]


def _kvlist(value: Any, key: str, depth: int) -> dict[str, Any]:
    return attributes(_values(value, key, "kvlistValue", depth), depth + 1)


def _values(value: Any, key: str, name: str, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise Unreadable(f"attribute {key[:60]!r}: found more than {MAX_DEPTH} lists or objects within each other")
    if type(value) is not dict:
        raise _unfit(key, name, value, "an object with values")
    values = value.get("values")
    if values is None:
        return []
    if type(values) is not list:
        raise _unfit(key, f"{name}.values", values, "a list")
    return values


def _bytes(value: Any, key: str, depth: int) -> str:
    data: bytes | None = None
    match value:
        case str():
            data = base64(value)
        case {"type": "Buffer", "data": list(numbers)}:
            data = _of_numbers(numbers)
        case dict():  # JSON.stringify of a Uint8Array: {"0": 104, "1": 105}
            data = _of_numbers(list(value.values()))
        case list():
            data = _of_numbers(value)
    if data is None:
        raise _unfit(key, "bytesValue", value, "base64")
    return b64encode(data).decode()


def _of_numbers(numbers: list[Any]) -> bytes | None:
    try:
        return bytes(numbers)
    except (TypeError, ValueError):
        return None


_VALUES: Final = {
    "stringValue": _string,
    "string_value": _string,
    "boolValue": _bool,
    "bool_value": _bool,
    "intValue": _int,
    "int_value": _int,
    "doubleValue": _double,
    "double_value": _double,
    "arrayValue": _array,
    "array_value": _array,
    "kvlistValue": _kvlist,
    "kvlist_value": _kvlist,
    "bytesValue": _bytes,
    "bytes_value": _bytes,
}


def _unfit(key: str, name: str, value: Any, expected: str) -> Unreadable:
    return Unreadable(f"attribute {key[:60]!r}: {name}: found {kind(value)}, expected {expected}")


def integer(value: Any) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case str() if INTEGER.fullmatch(value):
            return int(value)
        case float() if value.is_integer():
            return int(value)
        case {"low": int(low), "high": int(high)}:
            return (high & 0xFFFFFFFF) << 32 | (low & 0xFFFFFFFF)
        case _:
            return None


def base64(text: str) -> bytes | None:
    """Either alphabet, with its padding or without, as protobuf's JSON mapping wants readers to take it."""
    try:
        return b64decode(text.rstrip("=").translate(_URL_SAFE) + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (Error, ValueError):
        return None


def kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
