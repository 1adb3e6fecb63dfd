"""Mistakes in the configuration: all named at once, each with its line, partner and a hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reseller.config import ConfigError, load

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ./reseller.toml in an empty working directory; gives the path as a person types it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("reseller.toml").write_text(text, "utf-8")
        return Path("reseller.toml")

    return write


def mistakes(path: Path | None, env: Mapping[str, str] | None = None) -> list[str]:
    """What `config check` prints, line by line."""
    with pytest.raises(ConfigError) as caught:
        load(path, env or {}, {})
    assert len(caught.value.problems) == len(str(caught.value).splitlines())
    return str(caught.value).splitlines()


def test_every_mistake_is_named_at_once_with_its_line(write: Write) -> None:
    """One run names them all: unknown keys and sections, types, ranges and missing partners."""
    path = write(
        "# a shop\n"
        "[server]\n"
        'listen = "nowhere"\n'
        "body_limit_mb = 65\n"
        "trusted_proxies = [\n"
        '  "10.0.0.0/8",\n'
        '  "proxy",\n'
        "]\n"
        "drain_s = true\n"
        "[limits]\n"
        "requests_per_minut = 3\n"
        "requests_per_hour = 12.5\n"
        'requests_per_day = "many"\n'
        "[tls]\n"
        'cert = "chain.pem"\n'
        "[limit]\n"
        "requests_per_minute = 3\n"
        "[pricing]\n"
        'markup = "lots"\n'
        "fixed_usd = 0.0000000001\n"
        "[signup]\n"
        'mode = "close"\n'
    )
    Path("chain.pem").touch()
    assert mistakes(path) == [
        "reseller.toml:3: server.listen: expected host:port such as 127.0.0.1:8080,"
        ' found "nowhere"',
        "reseller.toml:4: server.body_limit_mb: expected 1 to 64, found 65",
        "reseller.toml:5: server.trusted_proxies: expected an address range such as 10.0.0.0/8:"
        " 'proxy' does not appear to be an IPv4 or IPv6 network",
        "reseller.toml:9: server.drain_s: expected a number, found true",
        "reseller.toml:11: limits.requests_per_minut: unknown key,"
        " did you mean requests_per_minute?",
        "reseller.toml:12: limits.requests_per_hour: expected a whole number, found 12.5",
        'reseller.toml:13: limits.requests_per_day: expected a whole number, found "many"',
        "reseller.toml:15: tls.cert: needs tls.key too",
        "reseller.toml:16: limit: unknown section, did you mean limits?",
        "reseller.toml:19: pricing.markup: 'lots' is not a percentage such as 20%",
        "reseller.toml:20: pricing.fixed_usd: '0.0000000001' has more than nine decimals",
        'reseller.toml:22: signup.mode: expected open or invite or closed, found "close"',
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[server]\nlisten 3\n[what]\n",
            "2: not TOML: Expected '=' after a key in a key/value pair",
        ),
        (
            "[server]\n\ntrusted_proxies = [\n'10.0.0.0/8',\n",
            "3: not TOML: what begins here does not end (Invalid value)",
        ),
        ("[server]\n[tls]\n[server]\n", "3: not TOML: Cannot declare ('server',) twice"),
        ("[limits]\nrequests_per_day = 1\nrequests_per_day = 2\n", "3: not TOML: Cannot overwrite"),
        ("\nname = '''\nx\n", "2: not TOML: what begins here does not end (Expected"),
        ("[a]\nx = 1\nlisten = " + "9" * 5_000, "3: not TOML: Exceeds the limit"),
    ],
)
def test_a_syntax_error_stands_alone_with_its_line(write: Write, text: str, said: str) -> None:
    """What follows a syntax error cannot be judged, so nothing else is reported."""
    path = write(text)
    (only,) = mistakes(path, {"RESELLER__SERVER__PORT": "1"})
    assert only.startswith(f"reseller.toml:{said}")


def test_a_file_that_cannot_be_read_says_why(write: Write, tmp_path: Path) -> None:
    """A file asked for must be there, be a file, and be UTF-8."""
    assert mistakes(Path("gone.toml")) == ["gone.toml: cannot be read: no such file or directory"]
    assert mistakes(tmp_path) == [f"{tmp_path}: cannot be read: is a directory"]
    path = write("")
    path.write_bytes(b'[branding]\nname = "caf\xe9"\n')
    assert mistakes(path) == ["reseller.toml:2: is not UTF-8 text"]
    path.write_bytes(b'\xef\xbb\xbf[branding]\r\nname = "caf\xc3\xa9"\r\n')
    assert load(path, {}, {}).branding.name == "café"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen = 'x:1'", "1: listen: stands in no section, did you mean server.listen?"),
        ("[zebra]\nx = 1", "1: zebra: unknown section"),
        ("[server]\nmarkup = 3", "2: server.markup: unknown key, did you mean pricing.markup?"),
        ("[server]\nzebra = 3", "2: server.zebra: unknown key"),
        (
            "[upstream]\napi_key_fil = 'x'",
            "2: upstream.api_key_fil: unknown key, did you mean api_key?",
        ),
        ("[server]\nlisten_file = 'x'", "2: server.listen_file: unknown key, did you mean listen?"),
        ("[[server]]\nlisten = 'x'", "1: server: expected one section [server]"),
        ("server = 3", "1: server: expected one section [server]"),
        (
            "[server]\nlisten.on = 3",
            "2: server.listen: expected host:port such as 127.0.0.1:8080, found a table",
        ),
    ],
)
def test_an_unknown_name_gets_the_nearest_known_one(write: Write, text: str, said: str) -> None:
    """A typing mistake, a key in the wrong section and a key in none each get their own hint."""
    assert mistakes(write(text)) == [f"reseller.toml:{said}"]


def test_wrong_variables_are_all_named(write: Write) -> None:
    """Every variable that cannot be used is reported beside the mistakes of the file."""
    path = write("[server]\ndrain_s = -1\n")
    env = {
        "RESELLER__LIMITS__REQUESTS_PER_MINUT": "3",
        "RESELLER__LIMITS__REQUESTS_PER_HOUR": "",
        "RESELLER__OPERATOR__TERMS_ACCEPTED": "perhaps",
        "RESELLER__LISTEN": "x",
        "RESELLER__EMAIL__SMTP_USER": "me",
    }
    assert mistakes(path, env) == [
        "reseller.toml:2: server.drain_s: expected 0 to 3600, found -1",
        "RESELLER__LIMITS__REQUESTS_PER_MINUT: limits.requests_per_minut: unknown key,"
        " did you mean RESELLER__LIMITS__REQUESTS_PER_MINUTE?",
        "RESELLER__LISTEN: listen: unknown key",
        "RESELLER__LIMITS__REQUESTS_PER_HOUR: limits.requests_per_hour: expected a whole number,"
        ' found ""',
        "RESELLER__OPERATOR__TERMS_ACCEPTED: operator.terms_accepted: expected true or false,"
        ' found "perhaps"',
        "RESELLER__EMAIL__SMTP_USER: email.smtp_user: needs email.smtp_host too",
        "RESELLER__EMAIL__SMTP_USER: email.smtp_user: needs email.smtp_password too",
    ]


def test_a_wrong_value_is_named_although_another_wins(write: Write) -> None:
    """A mistake in the file does not hide behind a variable that happens to be set today."""
    path = write("[limits]\nrequests_per_minute = 0\n")
    said = mistakes(path, {"RESELLER__LIMITS__REQUESTS_PER_MINUTE": "5"})
    assert said == [
        "reseller.toml:2: limits.requests_per_minute: expected 1 to 1,000,000,000, found 0"
    ]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("pricing.markup", "-1"),
        ("pricing.markup", "true"),
        ("pricing.markup", "inf"),
        ("pricing.markup", "1e999000"),
        ("pricing.fixed_usd", "nan"),
        ("pricing.fixed_usd", '""'),
        ("pricing.fixed_usd", "[1]"),
        ("pricing.fixed_usd", "1979-05-27"),
        ("holds.price_guard", "0.9"),
        ("holds.price_guard", '"1.00001"'),
        ("server.port", "1"),
        ("server.listen", '""'),
        ("server.listen", '"127.0.0.1:70000"'),
        ("server.base_url", '"ai.example.com"'),
        ("server.base_url", '"https://me:secret@ai.example.com"'),
        ("server.base_url", '"https://ai.example.com:port"'),
        ("server.early_open_s", "nan"),
        ("server.max_connections", "true"),
        ("server.max_connections", "0x" + "f" * 5_000),
        ("pricing.fixed_usd", "0x" + "f" * 5_000),
        ("server.engine", '"apache"'),
        ("server.trusted_proxies", '"10.0.0.0/8"'),
        ("server.trusted_proxies", '["10.0.0.1/8"]'),
        ("branding.name", '"two\\nlines"'),
        ("branding.accent", '"green"'),
        ("branding.support_email", '"help"'),
        ("branding.logo", '"gone.svg"'),
        ("upstream.show_provider", '"yes"'),
        ("upstream.api_key", "3"),
        ("upstream.api_key", '"two words"'),
        ("data.dir", '""'),
        ("data.dir", "3"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(write: Write, key: str, written: str) -> None:
    """Types are not bent: a bool is no number, text is no list, an amount is finite."""
    section, name = key.split(".")
    (only,) = mistakes(write(f"[{section}]\n{name} = {written}\n"))
    assert only.startswith(f"reseller.toml:2: {key}: ")


def test_a_secret_file_that_gives_none_is_a_mistake(write: Write, tmp_path: Path) -> None:
    """Missing, empty or given beside the secret itself: said so, without the secret."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "key").write_text("sk_live_1")
    path = write(
        "[upstream]\napi_key_file = 'gone'\nmanagement_key = 'm'\n"
        "[stripe]\nsecret_key = 'sk_live_secret'\nsecret_key_file = 'key'\n"
        "[metrics]\ntoken_file = 'empty'\n"
    )
    assert mistakes(path) == [
        "reseller.toml:2: upstream.api_key_file: gone: cannot be read: no such file or directory",
        "reseller.toml:6: stripe.secret_key: give secret_key or secret_key_file, not both",
        "reseller.toml:8: metrics.token_file: empty: is empty",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tls]\nkey = 'reseller.toml'", "2: tls.key: needs tls.cert too"),
        ("[tls]\ncert = 'reseller.toml'\nkey = 'gone'", "3: tls.key: there is no file gone"),
        (
            "[stripe]\nwebhook_secrets = ['whsec_1']",
            "2: stripe.webhook_secrets: needs stripe.secret_key too",
        ),
        (
            "[stripe]\nsecret_key = 'pk_live_1'",
            "2: stripe.secret_key: is the publishable key; the secret one is sk_… or rk_…",
        ),
        (
            "[upstream]\nmanagement_key = 'm'",
            "2: upstream.management_key: needs upstream.api_key too",
        ),
        ("[email]\nsmtp_host = 'mx'", "2: email.smtp_host: needs email.from_address too"),
        (
            "[server]\nbodies_in_flight_mb = 8",
            "2: server.body_limit_mb: is more than server.bodies_in_flight_mb,"
            " so the largest body would never be read",
        ),
        (
            "[metrics]\nlisten = '127.0.0.1:8080'",
            "2: metrics.listen: is server.listen; use another port",
        ),
        (
            "[holds]\nmax_output_tokens = 10",
            "2: holds.minimum_tokens: is more than holds.max_output_tokens,"
            " so no request would be let through",
        ),
    ],
)
def test_values_that_do_not_fit_together_name_each_other(
    write: Write, text: str, said: str
) -> None:
    """A rule over two keys stands at the line that broke it and names the partner."""
    assert mistakes(write(text)) == [f"reseller.toml:{said}"]
