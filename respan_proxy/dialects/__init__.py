"""Frames <-> meaning: four wire dialects read into, and written from, one vocabulary of neutral events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from respan_proxy.dialects.dialect import Dialect

_MODULES = {
    "openai.chat": "openai_chat",
    "openai.responses": "openai_responses",
    "anthropic.messages": "anthropic_messages",
    "gemini": "gemini",
}


class _Dialects(Mapping[str, Dialect]):
    """Each dialect's module is imported when it is first asked for: a gateway that never sees Gemini never loads it."""

    def __getitem__(self, name: str) -> Dialect:
        return _load(_MODULES[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


@cache
def _load(module: str) -> Dialect:
    dialect: Dialect = import_module(f"respan_proxy.dialects.{module}").DIALECT
    return dialect


DIALECTS: Mapping[str, Dialect] = _Dialects()
