"""What is known about models: who takes sampling, how they think, what their limits are called."""

from __future__ import annotations

import pytest

from respan_proxy.dialects import catalog
from respan_proxy.dialects.efforts import EFFORTS
from respan_proxy.dialects.profiles import Rule, profile_of, rules
from respan_proxy.dialects.request import Profile

# As Claude itself is asked: nothing of what chat servers refuse.
NEVER_OFF = frozenset({"thinking.disabled"})


@pytest.mark.parametrize(
    ("provider", "model", "told"),
    [
        ("openai", "gpt-4.1", {"sampling": True, "thinking": "none", "max_tokens_field": "max_completion_tokens"}),
        ("openai", "o3-mini", {"sampling": False, "efforts": ("low", "medium", "high"), "max_tokens_field": "max_completion_tokens"}),
        ("openai", "gpt-5", {"sampling": False, "thinking": None}),
        ("openai", "gpt-5-chat-latest", {"sampling": True, "thinking": "none"}),
        ("openai", "gpt-5.6-luna", {"dialect": "openai.responses"}),
        ("openai", "gpt-3.5-turbo", {"structured": False}),
        ("anthropic", "claude-3-5-haiku-20241022", {"thinking": "none", "structured": False, "max_tokens": 8192}),
        ("anthropic", "claude-3-7-sonnet-20250219", {"thinking": "budget", "max_tokens": 64000}),
        ("anthropic", "claude-sonnet-4-20250514", {"thinking": "budget", "structured": False, "sampling": True}),
        ("anthropic", "claude-opus-4-1-20250805", {"max_tokens": 32000, "structured": False}),
        ("anthropic", "claude-haiku-4-5", {"thinking": "budget", "structured": True, "sampling": True}),
        ("anthropic", "claude-sonnet-4-6", {"thinking": "adaptive", "sampling": True, "mid_system": False}),
        ("anthropic", "claude-opus-4-7", {"thinking": "adaptive", "sampling": False, "thinking_default_on": False}),
        ("anthropic", "claude-opus-4-8", {"mid_system": True}),
        ("anthropic", "claude-opus-5-5", {"thinking_default_on": True, "sampling": False}),
        ("bedrock", "us.anthropic.claude-opus-4-7", {"max_tokens_field": "max_completion_tokens", "refuses": NEVER_OFF}),
        ("foundry", "claude-opus-4-7", {"max_tokens_field": "max_completion_tokens", "refuses": NEVER_OFF}),
        ("bedrock", "openai.gpt-oss-120b-1:0", {"max_tokens_field": "max_tokens", "user_field": "user"}),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"thinking": "budget", "structured": True}),
        ("vertex_ai", "claude-opus-4@20250514", {"max_tokens": 32000}),
        ("openrouter", "anthropic/claude-opus-4.7", {"sampling": False, "user_field": "user"}),
        ("gemini", "models/gemini-2.5-flash", {"thinking": "budget"}),
        ("gemini", "gemini-3-pro-preview", {"thinking": "level", "efforts": ("low", "high")}),
        ("gemini", "gemini-2.0-flash", {"thinking": "none", "max_tokens": 8192}),
        ("mistral", "mistral-large-latest", {"call_ids": "nine", "seed_field": "random_seed", "user_field": None}),
        ("deepseek", "deepseek-reasoner", {"replays_reasoning": True, "structured": False}),
        ("my_own_server", "qwen3", {"max_tokens_field": "max_tokens", "user_field": "user", "sampling": True}),
    ],
)
def test_a_models_name_tells_what_it_takes(provider: str, model: str, told: dict[str, object]) -> None:
    profile = profile_of(provider, model)
    assert {name: getattr(profile, name) for name in told} == told
    assert profile.model == model


def test_an_unknown_model_of_openai_is_asked_as_the_newest_are() -> None:
    assert profile_of("openai", "something-new") == Profile(model="something-new", refuses=frozenset({"messages.extensions"}))


def test_every_known_model_has_a_sound_profile() -> None:
    for provider, models in catalog.models().items():
        for model in models:
            profile = profile_of(provider, model)
            assert set(profile.efforts) <= EFFORTS.keys()
            assert list(profile.efforts) == [word for word in EFFORTS if word in profile.efforts]
            assert not any(name.startswith("-") for name in profile.refuses)
            assert provider != "anthropic" or profile.default_max_tokens <= (profile.max_tokens or 0)


def test_providers_named_in_rules_exist() -> None:
    named = {name.lstrip("!") for rule in rules() for name in rule.providers.patterns}
    assert named - {"*"} <= catalog.providers().keys()


def test_a_users_rule_comes_last_and_may_take_a_refusal_back() -> None:
    rule = Rule.of({"models": ["o3"], "refuses": ["-stop"], "max_tokens": 5, "efforts": ["high"], "user_field": ""})
    profile = profile_of("openai", "o3", [rule])
    assert "stop" not in profile.refuses
    assert "verbosity" in profile.refuses
    assert (profile.max_tokens, profile.efforts, profile.user_field) == (5, ("high",), None)


def test_a_rule_that_says_no_fact_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"says max_token; known are .*max_tokens"):
        Rule.of({"models": ["x"], "max_token": 5})
