"""Secrets that stand within a text, found by what stands before them: in JSON (of whatever depth of escapes) and Python's reprs, in header
lines, addresses, assignments and options of commands.

Texts are what was said, most of them, and must stay true. A quoted value under a secret's name is masked whatever it is, and so is a
parameter of an address; where names and values are bare words (`token: required`), what stands there must look like a secret too.

Linear in the text, and bounded on both sides of each sign that is found. A text without such a sign is looked through at the pace of
memory (0.1 us for 10 KB), and expressions begin with the sign, which `re` then looks for at nearly that pace.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from respan_proxy.wire.secrets import MASK, is_secret, is_secret_member

_NAME_CHARS: Final = 64
_BEFORE_CHARS: Final = 192
_SECRET_CHARS: Final = 4096  # tokens with claims in them have 1 to 2 KB

# How the names of secrets end: the cheap test before a name is cut out. `lue` is the `value` beside a `name`.
_ENDS: Final = frozenset(
    (
        *("key", "eys", "ken", "ens", "ret", "ets", "uth", "ion", "ial", "als", "ord", "rds", "swd", "ase"),
        *("kie", "ie2", "ies", "ure", "jwt", "sig", "ams", "ers", "lue"),
    )
)
# The same, one character at a time: what an expression can look for ten times as fast.
_ENDING: Final = r"[aeijklorstuAEIJKLORSTU][adeilmnorstuwyADEILMNORSTUWY][degh2lnstyDEGHLNSTY]"

Found = tuple[int, int, str]
"""What is to be replaced in a text: where it begins, where it ends, and by what."""

_COLON = re.compile(rf""":(?:(?<={_ENDING}["']:)|(?<=\\["']:)|(?<={_ENDING}:)|(?=\\?/\\?/))""")
_EQUALS = re.compile(rf"=(?:(?<={_ENDING}=)|(?<={_ENDING} =))")
_NESTED_EQUALS = re.compile(rf"%3[Dd](?<={_ENDING}%3.)")
_VALUE = re.compile(r"\s{0,64}(?:[bru]|[A-Za-z]{1,20}\()?(?P<slashes>\\{0,127})(?P<quote>[\"'])|\s{0,64}(?P<open>[\[{])")
_TOKEN = re.compile(r"(?P<slashes>\\*)(?P<quote>[\"'])|(?P<open>[\[{(])|[\]})]")
_IS_NAME = re.compile(r"\s*:")
# An argument called `api_key` is described, not given, in the definition of a tool.
_SCHEMA = re.compile(
    r"\s*\{\s*\\*[\"'](?:title|description|anyOf|oneOf|allOf|enum|\$ref|type\\*[\"']\s*:\s*(?:\[|\\*[\"']"
    r"(?:string|object|array|number|integer|boolean|null)\b))"
)
_PAIR = re.compile(r".\s{0,16}b?\\*[\"'](?P<name>[\w.-]{2,64})\\*[\"']\s{0,16},(?=\s{0,16}b?\\*[\"'])", re.DOTALL)
_AFTER_PAIR = re.compile(r"\\*[\"']\s{0,16}[\])]")
_BEFORE_PAIRS: Final = frozenset("\"'\\b \n")
_NAMED = re.compile(
    r"\\*[\"'](?:name|key|header)\\*[\"']\s*:\s*\\*[\"'](?P<name>[\w.-]{2,64})\\*[\"']\s*,\s*\\*[\"']value\Z", re.IGNORECASE
)
_IN_NAMES: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%")
_BARE = re.compile(
    r"\s{0,16}(?P<scheme>(?:Bearer|Basic|Token|Digest|ApiKey)(?:\s{1,4}|%20))?(?![$%*])(?P<value>[^\s\"'\\,;<>{}()\[\]`|]+)", re.IGNORECASE
)
_COOKIES = re.compile(r"[^\r\n\"'\\=]{1,256}=[^\r\n\"'\\]*")
_PARAMETER = re.compile(r"(?![{$<%*])[^\s&\"'<>\\#)\]}|^`]+")
_NESTED_PARAMETER = re.compile(r"(?:(?!%26|%23)[^\s&\"'<>\\#)\]}|^`])+", re.IGNORECASE)
_OPTION = re.compile(r"--(?P<name>[A-Za-z][\w.-]{1,63})\\*[\"']?[\s,]\s{0,16}\\*[\"']?(?=\w)")
_WORD = re.compile(r"[^\s\"'\\,;<>{}()\[\]`|]{1,4096}")
_OPTION_AND_VALUE = re.compile(r"(?<!\S)(--?(?P<name>[A-Za-z][\w.-]{0,63})(?:\s{1,16}|=))(?!-)(?:'[^']*'|\"[^\"]*\"|\S+)")
_USER = re.compile(r":\\?/\\?/(?P<user>[^\s/?#\"'<>@:\\]{0,256})(?::(?P<password>[^\s/?#\"'<>\\]{1,256}))?@")
_ADDRESS = re.compile(r":(?=\\?/\\?/)")
_BEARER = re.compile(r"B(?i:earer)(?:\s{1,4}|%20)(?P<value>[\w.~+/=%-]{16,})")


def without_secrets(text: str) -> str:
    """The text with `***` for each secret; the same object when there is none in it."""
    found: list[Found] = []
    if ":" in text:
        _after_colons(text, found)
    if "=" in text:
        _after_equals(text, found)
    for opening in "[(":
        if opening in text:
            _in_pairs(text, opening, found)
    if "-" in text and "--" in text:
        _after_options(text, found)
    if "B" in text:
        _after_bearer(text, found)
    return _replaced(text, found) if found else text


def without_credentials(text: str) -> str:
    """Of what was said, prose or code, only what is a credential for certain: parameters and passwords of addresses, bearer tokens."""
    found: list[Found] = []
    if "=" in text and ("?" in text or "&" in text or "#" in text):
        _after_equals(text, found, in_addresses_only=True)
    if "@" in text:
        for colon in _ADDRESS.finditer(text):
            _user(text, colon.start(), found)
    if "B" in text:
        _after_bearer(text, found)
    return _replaced(text, found) if found else text


def without_options(command: str) -> str:
    """The line of a command without the values of its options called like secrets, whatever these look like."""
    return _OPTION_AND_VALUE.sub(lambda found: f"{found[1]}{MASK}" if _is_parameters(found["name"]) else found[0], command)


def looks_secret(value: str) -> bool:
    """Whether a word has the form of a secret: long, and no word of a language or a path of names in code."""
    if len(value) < 16 or not any(char.isdigit() for char in value):
        return False
    parts = value.strip(".").split(".")
    return len(parts) == 1 or value != value.lower() or not all(part.isidentifier() for part in parts)


def _replaced(text: str, found: list[Found]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, instead in sorted(found):
        if start >= done:
            pieces += (text[done:start], instead)
            done = end
        elif end > done:  # two rules met here: what either of them takes for secret goes
            done = end
    return "".join((*pieces, text[done:]))


def _after_colons(text: str, found: list[Found]) -> None:
    """Values of JSON and of reprs, header lines, and the users of addresses."""
    has_user = "@" in text
    done = 0
    for colon in _COLON.finditer(text):
        at = colon.start()
        if at < done:
            continue
        last = text[at - 1]
        if last == '"' or last == "'":
            if text[at - 2] == "\\" or text[at - 4 : at - 1].lower() in _ENDS:
                done = _quoted(text, at, found)
        elif text[at - 3 : at].lower() in _ENDS:
            done = _header(text, at, found)
        elif has_user:
            _user(text, at, found)


# What follows returns where it ended, so that no piece of a text is looked at twice.


def _quoted(text: str, colon: int, found: list[Found]) -> int:
    end = colon - 1
    quote = text[end]
    while end > 0 and text[end - 1] == "\\":
        end -= 1
    name = text[max(0, end - _NAME_CHARS) : end].rpartition(quote)[2]
    if name.lower() == "value":
        before = _NAMED.search(text[max(0, end - _BEFORE_CHARS) : end])
        name = before["name"] if before is not None else ""
    # JSON has one kind of quotes, reprs have two; others are code that only looks like either.
    marks = text[end:colon] if quote == '"' else None
    return _values(text, colon + 1, marks, found) if name and is_secret_member(name) else colon


def _values(text: str, at: int, marks: str | None, found: list[Found]) -> int:
    """The quoted text that begins there, or all those in the list or object that does."""
    if (opening := _VALUE.match(text, at)) is None:
        return _bare(text, at, found)
    if opening["quote"]:
        return _mask(text, opening, found)
    if _SCHEMA.match(text, at) is not None:
        return opening.end()
    depth, at = 1, opening.end()
    while depth:
        if (token := _TOKEN.search(text, at)) is None:
            return len(text)
        at = token.end()
        if token["quote"]:
            if marks is not None and token[0] != marks:
                continue
            at = _closing(text, token) + len(token[0])
            if _IS_NAME.match(text, at) is None:
                _mask(text, token, found)
        else:
            depth += 1 if token["open"] else -1
    return at


def _mask(text: str, opening: re.Match[str], found: list[Found]) -> int:
    """All of a quoted text."""
    start, end = opening.end(), _closing(text, opening)
    if end == len(text):  # it was cut
        found.append((start, end, MASK + opening["slashes"] + opening["quote"]))
    elif end > start and text[start:end] != MASK:
        found.append((start, end, MASK))
    return end


def _closing(text: str, opening: re.Match[str]) -> int:
    """Where a quoted text ends: at a quote with as many backslashes as the first one, or with whole pairs (of pairs) of them more."""
    quote, slashes, start = opening["quote"], len(opening["slashes"]), opening.end()
    at = text.find(quote, start)
    while at != -1:
        first = at
        while first > start and text[first - 1] == "\\":
            first -= 1
        if (more := at - first - slashes) < 0 or more % (2 * slashes + 2) == 0:
            return at - min(slashes, at - first)
        at = text.find(quote, at + 1)
    return len(text)


def _header(text: str, colon: int, found: list[Found]) -> int:
    """`Authorization: Bearer ...`, as a line of headers, of YAML or of JavaScript."""
    name = _name_before(text, colon)
    if not is_secret_member(name):
        return colon
    if (quoted := _VALUE.match(text, colon + 1)) is not None and quoted["quote"]:
        return _mask(text, quoted, found) if _quotes_secret(text, quoted) else colon
    if not name.lower().endswith("cookie"):
        return _bare(text, colon + 1, found)
    if (cookies := _COOKIES.match(text, colon + 1)) is None:
        return colon
    found.append((*cookies.span(), f" {MASK}"))
    return cookies.end()


def _bare(text: str, at: int, found: list[Found], *, whatever: bool = False) -> int:
    """A word without quotes: a secret when it looks like one, and `whatever` it is after an option."""
    if (word := _BARE.match(text, at)) is None:
        return at
    if text[word.end() : word.end() + 1] == "(":  # of code that calls something
        return word.end()
    # `Authorization: Bearer token` is about one.
    if whatever or looks_secret(word["value"]) or (word["scheme"] is not None and len(word["value"]) >= 8):
        found.append((*word.span("value"), MASK))
    return word.end()


def _user(text: str, colon: int, found: list[Found]) -> None:
    """`scheme://user:password@host`, and a token in the user's place."""
    if (user := _USER.match(text, colon)) is not None:
        if user["password"]:
            found.append((*user.span("password"), MASK))
        elif looks_secret(user["user"]):
            found.append((*user.span("user"), MASK))


def _after_equals(text: str, found: list[Found], *, in_addresses_only: bool = False) -> None:
    done = 0
    for sign in _EQUALS.finditer(text):
        at = sign.start()
        if at >= done and text[max(0, at - 4) : at].rstrip()[-3:].lower() in _ENDS:
            done = _assigned(text, at, at + 1, found, in_addresses_only=in_addresses_only)
    if "%" in text:  # an address within an address
        done = 0
        for sign in _NESTED_EQUALS.finditer(text):
            if sign.start() >= done:
                done = _assigned(text, sign.start(), sign.end(), found, in_addresses_only=True)


def _assigned(text: str, sign: int, start: int, found: list[Found], *, in_addresses_only: bool) -> int:
    name = _name_before(text, sign)
    if (parameter := _parameter(text, sign, name)) is not None:
        value = (_PARAMETER if start == sign + 1 else _NESTED_PARAMETER).match(text, start)
        if value is None or not _is_parameters(parameter):
            return sign
        found.append((*value.span(), MASK))
        return value.end()
    is_option = name.startswith("--")
    if in_addresses_only or not (_is_parameters(name.lstrip("-")) if is_option else is_secret_member(name)):
        return sign
    if (quoted := _VALUE.match(text, start)) is None or not quoted["quote"]:
        return _bare(text, start, found, whatever=is_option)
    return _mask(text, quoted, found) if is_option or _quotes_secret(text, quoted) else sign


def _is_parameters(name: str) -> bool:
    """Whether a parameter of an address, or an option, is called like a secret: `key` and `token` alone are then."""
    return is_secret(name) or is_secret_member(name)


def _quotes_secret(text: str, opening: re.Match[str]) -> bool:
    start = opening.end()
    piece = text[start : start + _SECRET_CHARS].partition(opening["quote"])[0]
    return looks_secret(piece.rstrip("\\").rpartition(" ")[2])


def _name_before(text: str, end: int) -> str:
    """The bare name that ends there, or before one blank."""
    if end and text[end - 1] == " ":
        end -= 1
    start = end
    while start > 0 and end - start < _NAME_CHARS and text[start - 1] in _IN_NAMES:
        start -= 1
    return text[start:end]


def _parameter(text: str, end: int, name: str) -> str | None:
    """The name where it is a parameter's of an address, which may be a parameter itself (its signs are within the name then)."""
    start = end - len(name)
    before = text[max(0, start - 6) : start]
    lowered = name.lower()
    if "%" in name and (cut := max(lowered.rfind("%3f"), lowered.rfind("%26"))) != -1:
        return unquote(name[cut + 3 :])
    if before.endswith("\\") and name.startswith("u0026"):
        return name[5:]
    return unquote(name) if before.endswith(("?", "&", "&amp;", "#")) else None


def _in_pairs(text: str, opening: str, found: list[Found]) -> None:
    """`["authorization", "Bearer ..."]`; a list of names looks like that too."""
    at = text.find(opening)
    while at != -1:
        end = at + 1
        if text[end : end + 1] in _BEFORE_PAIRS and (names := _PAIR.match(text, at)) is not None and is_secret_member(names["name"]):
            value = _VALUE.match(text, names.end())
            if value is not None and value["quote"] and _quotes_secret(text, value):
                closing = _closing(text, value)
                if closing == len(text) or _AFTER_PAIR.match(text, closing) is not None:
                    end = _mask(text, value, found)
        at = text.find(opening, end)


def _after_options(text: str, found: list[Found]) -> None:
    """`--api-key VALUE`."""
    for option in _OPTION.finditer(text):
        value = _WORD.match(text, option.end()) if _is_parameters(option["name"]) else None
        if value is not None and looks_secret(value[0]):
            found.append((*value.span(), MASK))


def _after_bearer(text: str, found: list[Found]) -> None:
    found += [(*bearer.span("value"), MASK) for bearer in _BEARER.finditer(text) if looks_secret(bearer["value"])]
