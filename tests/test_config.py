"""The configuration: what it accepts, how it names mistakes, and where each value came from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from reseller.config import Config, ConfigError, load, schema
from reseller.config_lines import key_lines
from reseller.config_schema import SECTIONS, all_keys, keys_of

ROOT = Path(__file__).parent.parent
UPSTREAM_KEY = "sk-or-v1-" + "a1b2c3d4" * 8
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ./reseller.toml in an empty working directory; gives the path as a person types it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("reseller.toml").write_text(text, "utf-8")
        return Path("reseller.toml")

    return write


def test_nothing_configured_is_the_sandbox_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without file, variables or flags every key has its default, and no money is real."""
    monkeypatch.chdir(tmp_path)
    config = load(None, {}, {})
    assert config == Config()
    assert config.mode == "sandbox"
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.server.engine == "hypercorn"
    assert config.upstream.base_url == "https://openrouter.ai/api/v1"
    assert config.data.dir == Path("data")
    limits = config.limits
    assert limits.requests_per_minute == 60
    assert limits.requests_per_hour == 1_000
    assert limits.requests_per_day == 10_000
    assert (config.pricing.markup_bps, config.pricing.fixed_nanos) == (2_000, 0)
    assert (config.holds.price_guard_bps, config.brakes.upstream_headroom_bps) == (15_000, 12_000)
    assert {setting.origin for setting in config.explain()} == {"default"}


def test_flag_beats_variable_beats_file_beats_default(write: Write) -> None:
    """Each value keeps where it came from; only one from the file has a line."""
    path = write(
        "[limits]\nrequests_per_minute = 1\nrequests_per_hour = 1\nrequests_per_day = 1\n"
        "[data]\ndir = 'here'\n"
    )
    env = {
        "RESELLER__LIMITS__REQUESTS_PER_HOUR": "2",
        "RESELLER__LIMITS__REQUESTS_PER_DAY": "2",
        "UNRELATED": "x",
    }
    flags = {"limits.requests_per_day": "3", "server.listen": None, "data.dir": Path("there")}
    config = load(path, env, flags)
    limits = config.limits
    assert (limits.requests_per_minute, limits.requests_per_hour, limits.requests_per_day) == (
        1,
        2,
        3,
    )
    assert config.origin("limits.requests_per_minute") == "file:2"
    assert config.origin("limits.requests_per_hour") == "env RESELLER__LIMITS__REQUESTS_PER_HOUR"
    assert config.origin("limits.requests_per_day") == "flag --requests-per-day"
    assert config.origin("data.dir") == "flag --data-dir"
    assert config.origin("server.listen") == "default"
    assert config.data.dir == Path("there")
    lines = {key: config.locked_line(key) for key in all_keys() if config.locked_line(key)}
    assert lines == {"limits.requests_per_minute": 2}
    assert config.is_locked("limits.requests_per_hour")
    assert not config.is_locked("limits.tokens_per_minute")


def test_variables_are_read_by_the_kind_of_their_key(tmp_path: Path) -> None:
    """Booleans, numbers, amounts and lists are written as one would expect in a shell."""
    env = {
        "RESELLER_CONFIG": "/dev/null",
        "RESELLER__UPSTREAM__SHOW_PROVIDER": "yes",
        "RESELLER__PRICING__SHOW_FREE": "False",
        "RESELLER__SERVER__EARLY_OPEN_S": "0.25",
        "RESELLER__SERVER__TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "RESELLER__STRIPE__SECRET_KEY": "sk_test_1",
        "RESELLER__STRIPE__WEBHOOK_SECRETS": "whsec_a,whsec_b",
        "RESELLER__PRICING__MARKUP": "12.5",
        "RESELLER__PRICING__MINIMUM_USD": "0.0005",
        "RESELLER__BRAKES__NEW_ACCOUNT_DAILY_USD": "",
    }
    config = load(None, env, {})
    assert config.path == Path("/dev/null")
    assert config.upstream.show_provider
    assert not config.pricing.show_free
    assert config.server.early_open_s == 0.25
    assert config.server.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert config.stripe.webhook_secrets == ("whsec_a", "whsec_b")
    assert config.pricing.markup_bps == 1_250
    assert config.pricing.minimum_nanos == 500_000
    assert config.brakes.new_account_daily_nanos is None


@pytest.mark.parametrize(
    ("key", "written", "kept"),
    [
        ("pricing.markup", "20", 2_000),
        ("pricing.markup", '"40%"', 4_000),
        ("pricing.markup", "12.5", 1_250),
        ("pricing.fixed_usd", "0.000000001", 1),
        ("pricing.fixed_usd", "1e-9", 1),
        ("pricing.fixed_usd", '"$0.10"', 100_000_000),
        ("pricing.minimum_usd", "3", 3_000_000_000),
        ("holds.price_guard", "1.5", 15_000),
        ("holds.price_guard", '"2"', 20_000),
        ("holds.file_flat_usd", '""', None),
        ("holds.file_flat_usd", "0.05", 50_000_000),
        ("server.base_url", '"https://ai.example.com/"', "https://ai.example.com"),
        ("server.drain_s", "5", 5.0),
        ("pending.give_up_hours", "0.001", 0.001),
        ("tls.cert", '""', None),
    ],
)
def test_values_are_kept_in_the_units_of_the_program(
    write: Write, key: str, written: str, kept: object
) -> None:
    """Money in nanos and percentages in basis points, exactly; no float on the way."""
    section, name = key.split(".")
    value = load(write(f"[{section}]\n{name} = {written}\n"), {}, {}).value(key)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize("listen", ["[::1]:443", ":8080", "0.0.0.0:0", "localhost:80"])
def test_listen_is_split_into_host_and_port(listen: str) -> None:
    """The address may be a name, IPv4, IPv6 in brackets, or left out for all of them."""
    server = load(Path("/dev/null"), {}, {"server.listen": listen}).server
    expected = {
        "[::1]:443": ("::1", 443),
        ":8080": ("0.0.0.0", 8080),
        "0.0.0.0:0": ("0.0.0.0", 0),
        "localhost:80": ("localhost", 80),
    }
    assert (server.host, server.port) == expected[listen]


def test_secrets_are_read_from_files(write: Write, tmp_path: Path) -> None:
    """Any secret `x` can be given as `x_file`; a list takes one from each line."""
    (tmp_path / "upstream").write_text(UPSTREAM_KEY + "\n")
    (tmp_path / "hooks").write_text("whsec_one\nwhsec_two\n")
    path = write(
        "[upstream]\napi_key_file = 'upstream'\n[stripe]\nwebhook_secrets_file = 'hooks'\n"
        "secret_key = 'sk_live_in_the_file'\n"
    )
    (tmp_path / "stripe").write_text("sk_live_other")
    config = load(path, {"RESELLER__STRIPE__SECRET_KEY_FILE": str(tmp_path / "stripe")}, {})
    assert config.upstream.api_key == UPSTREAM_KEY
    assert config.stripe.webhook_secrets == ("whsec_one", "whsec_two")
    assert config.stripe.secret_key == "sk_live_other"
    assert config.origin("upstream.api_key") == "file:2"
    assert config.origin("stripe.secret_key") == "env RESELLER__STRIPE__SECRET_KEY_FILE"


def test_no_secret_is_shown(write: Write) -> None:
    """Neither `explain`, nor `repr`, nor an error message holds a secret."""
    path = write(
        f"[upstream]\napi_key = '{UPSTREAM_KEY}'\n[metrics]\ntoken = 'short'\n"
        "[stripe]\nsecret_key = 'sk_live_1234567890abcdefghij'\nwebhook_secrets = ['whsec_x']\n"
    )
    config = load(path, {}, {})
    shown = {each.key: each.shown for each in config.explain()}
    assert shown["upstream.api_key"] == "sk-or-…c3d4"
    assert shown["metrics.token"] == "…"
    assert shown["stripe.webhook_secrets"] == ["…"]
    assert shown["upstream.management_key"] == ""
    for secret in (UPSTREAM_KEY, "short", "sk_live_1234567890abcdefghij", "whsec_x"):
        assert secret not in repr(config)
        assert secret not in json.dumps(shown)
    with pytest.raises(ConfigError) as caught:
        load(write("[upstream]\napi_key = 'sk-or-v1-hidden and more'\n"), {}, {})
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load(write("[server]\nbase_url = 'https://me:hidden@example.com'\n"), {}, {})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "sandbox"),
        ("[upstream]\napi_key = ''", "sandbox"),
        ("[upstream]\napi_key = 'k'", "live"),
        ("[upstream]\napi_key = 'k'\n[sandbox]\nenabled = true", "sandbox"),
    ],
)
def test_mode_follows_the_upstream_key(write: Write, text: str, mode: str) -> None:
    """Live needs an upstream key, and the sandbox can be asked for in spite of one."""
    assert load(write(text), {}, {}).mode == mode


def test_lookup_prefers_what_was_asked_for(write: Write, tmp_path: Path) -> None:
    """`--config`, then $RESELLER_CONFIG, then ./reseller.toml."""
    write("[branding]\nname = 'here'\n")
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("[branding]\nname = 'named'\n")
    other.write_text("[branding]\nname = 'other'\n")
    env = {"RESELLER_CONFIG": str(named)}
    assert load(other, env, {}).branding.name == "other"
    assert load(None, env, {}).branding.name == "named"
    assert load(None, {}, {}).branding.name == "here"
    assert load(None, {}, {}).path == Path("reseller.toml")
    with pytest.raises(ConfigError, match=r"^gone: cannot be read: no such file or directory$"):
        load(None, {"RESELLER_CONFIG": "gone"}, {})


def test_lines_are_found_whatever_the_layout() -> None:
    """Dotted keys, inline tables, lists over lines, multi-line text and quoted names."""
    text = (
        "server.listen = 'a'\n"
        "limits = { requests_per_day = 1,\trequests_per_hour = 2 }\n"
        "\n"
        "[branding] # the shop\n"
        'name = """\n'
        "[data]\n"
        'dir = 1"""\n'
        "[stripe]\n"
        "webhook_secrets = [ # [x]\n"
        "  'a',\n"
        "\n"
        "  'b' ]\n"
        "'api_base' = 1\n"
        "[[odd]]\n"
        "x = 1\n"
    )
    assert key_lines(text) == {
        ("server",): 1,
        ("server", "listen"): 1,
        ("limits",): 2,
        ("limits", "requests_per_day"): 2,
        ("limits", "requests_per_hour"): 2,
        ("branding",): 4,
        ("branding", "name"): 5,
        ("stripe",): 8,
        ("stripe", "webhook_secrets"): 9,
        ("stripe", "api_base"): 13,
        ("odd",): 14,
        ("odd", "x"): 15,
    }


def test_the_configuration_cannot_be_changed() -> None:
    """What was built once stays as it is."""
    with pytest.raises(FrozenInstanceError):
        Config().server.listen = "x"  # type: ignore[misc]


def test_sections_and_keys_are_complete() -> None:
    """`Config` holds each section under its name, and every key is explained in a sentence."""
    held = [each.name for each in fields(Config) if each.name not in ("path", "origins")]
    assert held == list(SECTIONS)
    for key in all_keys().values():
        assert re.fullmatch(r"\S.{4,}\.", key.about), key.path
        assert key.kind.read(key.kind.show(key.default)) == key.default, key.path


def test_the_example_names_every_key_with_its_default() -> None:
    """Each key stands below its one line of explanation, commented out with its default."""
    text = (ROOT / "reseller.toml.example").read_text("utf-8")
    assert text == files("reseller").joinpath("example.toml").read_text("utf-8")
    assert tomllib.loads(text) == {section: {} for section in SECTIONS}
    for section in SECTIONS:
        body = text.split(f"\n[{section}]\n")[1].split("\n\n")[0].rstrip("\n")
        expected = [
            f"# {key.about}\n# {key.name} = {json.dumps(key.kind.show(key.default))}"
            for key in keys_of(section)
        ]
        assert body == "\n".join(expected)


def test_the_example_uncommented_is_the_default_configuration(tmp_path: Path) -> None:
    """Taking the comment sign away changes no value, and the schema agrees with every line."""
    text = (ROOT / "reseller.toml.example").read_text("utf-8")
    bare = re.sub(r"^# (?=[a-z0-9_]+ = )", "", text, flags=re.MULTILINE)
    path = tmp_path / "all.toml"
    path.write_text(bare)
    config = load(path, {}, {})
    for key in all_keys().values():
        assert config.value(key.path) == key.default
        assert config.locked_line(key.path)
    jsonschema.validate(tomllib.loads(bare), schema())


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    """It is a valid JSON Schema, knows the file form of secrets, and no unknown keys."""
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate({"upstream": {"api_key_file": "x"}}, schema())
    wrongs: list[dict[str, dict[str, int]]] = [
        {"zebra": {}},
        {"server": {"zebra": 1}},
        {"server": {"body_limit_mb": 65}},
    ]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema())
