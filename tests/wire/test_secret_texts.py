from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.wire.secret_texts import without_credentials, without_options, without_secrets
from respan_proxy.wire.secrets import is_secret_member

S = "sk-live-0123456789abcdef"


def json(value: object, times: int = 1) -> str:
    text = orjson.dumps(value).decode()
    return text if times == 1 else json(text, times - 1)


MASKED = [
    # JSON, of whatever depth.
    (json({"headers": {"Authorization": [f"Bearer {S}"]}, "a": 1}), '{"headers":{"Authorization":["***"]},"a":1}'),
    (json({"h": {"X-Api-Key": [S, S]}, "x": "y"}, 3), json({"h": {"X-Api-Key": ["***", "***"]}, "x": "y"}, 3)),
    (json([["x-api-key", S], ["a", "b"]]), '[["x-api-key","***"],["a","b"]]'),
    (json({"name": "x-api-key", "value": S}, 2), json({"name": "x-api-key", "value": "***"}, 2)),
    (json({"key": "api_key", "value": {"stringValue": S}}), '{"key":"api_key","value":{"stringValue":"***"}}'),
    (
        json({"credentials": {"openai": {"api_key": S, "tries": 2, "on": True}}}),
        '{"credentials":{"openai":{"api_key":"***","tries":2,"on":true}}}',
    ),
    (json({"a": {"api_key": "x\\"}, "b": "c"}), '{"a":{"api_key":"***"},"b":"c"}'),
    (f'"api_key": "{S}', '"api_key": "***"'),
    (f'"api_keys": ["{S}", "{S}', '"api_keys": ["***", "***"'),
    # Reprs of Python.
    (str({"api-key": S, "a": "b"}), "{'api-key': '***', 'a': 'b'}"),
    (str({"apiKey": [S]}), "{'apiKey': ['***']}"),
    (str([(b"x-api-key", S.encode())]), "[(b'x-api-key', b'***')]"),
    (f"{{'password': SecretStr('{S}')}}", "{'password': SecretStr('***')}"),
    (f"OpenAI(api_key='{S}', x=1)", "OpenAI(api_key='***', x=1)"),
    # Headers.
    (f"Authorization: Bearer {S}", "Authorization: Bearer ***"),
    (f"GET / HTTP/1.1\r\nx-api-key: {S}\r\naccept: */*", "GET / HTTP/1.1\r\nx-api-key: ***\r\naccept: */*"),
    (f"curl -H 'x-api-key:{S}' https://h", "curl -H 'x-api-key:***' https://h"),
    ("Proxy-Authorization: Basic dXNlcjpwYXNz", "Proxy-Authorization: Basic ***"),
    (f"Set-Cookie: sid={S}; Path=/", "Set-Cookie: ***"),
    (f"Authorization=Bearer {S},b=c", "Authorization=Bearer ***,b=c"),
    (f'a:\n  api_key: "{S}"\n', 'a:\n  api_key: "***"\n'),
    (f"{{ apiKey: '{S}', a: 'b' }}", "{ apiKey: '***', a: 'b' }"),
    (f"jwt={S}", "jwt=***"),
    (f"said Bearer {S}.", "said Bearer ***"),
    # Addresses.
    (f"failed GET https://h/v1?alt=sse&key={S} (404)", "failed GET https://h/v1?alt=sse&key=*** (404)"),
    ("[it](https://h/?access_token=short)", "[it](https://h/?access_token=***)"),
    (f'"https:\\/\\/h?a=1\\u0026api_key={S}"', '"https:\\/\\/h?a=1\\u0026api_key=***"'),
    (f"https://h?a=1&amp;apiKey={S}", "https://h?a=1&amp;apiKey=***"),
    (f"https://h?to=https%3A%2F%2Fi%3Fapi_key%3D{S}%26b%3Dc", "https://h?to=https%3A%2F%2Fi%3Fapi_key%3D***%26b%3Dc"),
    ("postgres://user:p@ss@host/db", "postgres://user:***@host/db"),
    ('{"u":"https:\\/\\/user:pw@host"}', '{"u":"https:\\/\\/user:***@host"}'),
    ("https://ghp_0123456789abcdef@github.com/x", "https://***@github.com/x"),
    # Assignments and options.
    (f"export OPENAI_API_KEY={S}", "export OPENAI_API_KEY=***"),
    (f'api_key = "{S}"', 'api_key = "***"'),
    (f"AccountName=a;AccountKey={S}==;Suffix=b", "AccountName=a;AccountKey=***;Suffix=b"),
    (f"app --api-key {S} --port 1", "app --api-key *** --port 1"),
    (f"app --db.password={S} --clientSecret {S}", "app --db.password=*** --clientSecret ***"),
    ("app --token=short --port 1", "app --token=*** --port 1"),
]


@pytest.mark.parametrize(("text", "shown"), MASKED)
def test_a_secret_is_masked_in_whatever_form_a_text_has_it(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


STAYS = [
    '{"max_tokens":"12","prompt_cache_key":"user-1234567890123456","tool_call_id":"call_12345678901234567890"}',
    '{"usage":{"input_tokens":12},"password":null,"api_key":true,"secret":3}',
    '{"token":"Hello","logprob":-1.5,"eos_token":"</s>","primary_key":"user_1234567890123456"}',
    "{'thought_signature': 'CtwBAVSoXO4', 'key': 'v'}",
    '{"properties":{"api_key":{"type":"string","description":"The key"},"password":{"title":"P"},"token":{"type":["string","null"]}}}',
    '{"required":["api_key","customer_identifier"]}',
    "The secretary: 12345678901234567 tokens. The password: swordfish. Authorization: required. Bearer of bad news-and-everything",
    "max_tokens=1600000000000000000 token = tokenizer.encode(text)",
    "self.api_key = os.environ['OPENAI_API_KEY_2'], api_key=settings.providers.openai_2.api_key",
    "curl -H 'Authorization: Bearer $OPENAI_API_KEY_2' https://h/?key={key}&token=<TOKEN>&api_key=$KEY",
    '_HEADERS = ("authorization", "x-amz-content-sha256", "x-amz-date")',
    '_MODULES = {"Credentials": (".credentials", "Credentials")}',
    "self._identity_auth = IdentityAuth2024(config)",
    'The password: "swordfish" and the token: "a word"',
    "def f(token: str = 'abc', key: int = 2): return sorted(a, key=lambda x: x.y) # --token is required",
    "https://host:8080/a@2?q=monkey&page_token=2 git@github.com:x/y a@b.c",
]


@pytest.mark.parametrize("text", STAYS)
def test_what_merely_looks_alike_stays(text: str) -> None:
    assert without_secrets(text) is text
    assert without_credentials(text) is text


def test_of_what_was_said_only_credentials_are_masked() -> None:
    prose = 'print({"api_key": "abc"}); API_KEY=abc0123456789def; x-api-key: abc0123456789def'
    assert without_credentials(prose) is prose
    said = f"GET https://u:pw@h/?a=1&key={S} with Bearer {S}"
    assert without_credentials(said) == "GET https://u:***@h/?a=1&key=*** with Bearer ***"


def test_options_of_a_command_are_masked_whatever_their_values_look_like() -> None:
    line = "app --api-key hunter2 --password='a b' -v --token short --port 80 --secret"
    assert without_options(line) == "app --api-key *** --password=*** -v --token *** --port 80 --secret"


@pytest.mark.parametrize(
    "name", ["clientSecret", "openai.apiKey", "api_keys", "OTEL_EXPORTER_OTLP_HEADERS", "x-amz-signature", "db.passphrase"]
)
def test_members_are_called_like_secrets_in_many_ways(name: str) -> None:
    assert is_secret_member(name)


@pytest.mark.parametrize("name", ["maxTokens", "pageToken", "promptCacheKey", "thoughtSignature", "access_key_id", "secretary", "keyboard"])
def test_members_that_are_merely_called_alike_are_none(name: str) -> None:
    assert not is_secret_member(name)


@given(st.text(alphabet="\"':=[({})]\\ \n?&-@/%3Dkeytoknarhuz0b*", max_size=60))
def test_no_text_is_too_odd_and_masking_once_is_enough(text: str) -> None:
    for masked in (without_secrets, without_credentials, without_options):
        once = masked(text)
        assert isinstance(once, str)


@given(
    st.text(),
    st.sampled_from(["api_key", "Authorization", "clientSecret", "set-cookie"]),
    st.integers(1, 4),
    st.sampled_from(["", "list", "object"]),
)
def test_whatever_a_secret_is_made_of_it_leaves_json_that_says_the_rest(secret: str, name: str, times: int, shape: str) -> None:
    def shaped(value: str) -> object:
        return [value, 1] if shape == "list" else {"a": value, "b": None} if shape == "object" else value

    marked = f"<{secret}>"
    masked = without_secrets(json({"before": "a", name: shaped(marked), "after": [1]}, times))
    assert masked == json({"before": "a", name: shaped("***"), "after": [1]}, times)
