"""Configuration: flags, environment, one TOML file and defaults become one frozen `Config`.

Every mistake is reported at once, each with its file and line, or its variable. The keys stand
in `config_schema`, what a value can be in `config_kinds`, where it is said in `config_sources`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from reseller.config_schema import (
    SECTIONS,
    Auth,
    Backup,
    Brakes,
    Branding,
    Data,
    Email,
    Holds,
    Limits,
    Log,
    Metrics,
    Operator,
    Pending,
    Pricing,
    Sandbox,
    Server,
    Signup,
    Stripe,
    Tls,
    Upstream,
    all_keys,
    keys_of,
)
from reseller.config_sources import (
    ConfigError,
    Layer,
    Problem,
    config_path,
    env_layer,
    file_layer,
    flag_layer,
    read_said,
)

__all__ = ["Config", "ConfigError", "Problem", "Setting", "load", "schema"]

# A key that is of no use without another.
_PARTNERS = (
    ("tls.cert", "tls.key"),
    ("tls.key", "tls.cert"),
    ("upstream.management_key", "upstream.api_key"),
    ("stripe.webhook_secrets", "stripe.secret_key"),
    ("email.smtp_host", "email.from_address"),
    ("email.smtp_user", "email.smtp_host"),
    ("email.smtp_user", "email.smtp_password"),
    ("email.smtp_password", "email.smtp_user"),
)
_READ_FILES = ("tls.cert", "tls.key", "branding.logo")


class Setting(NamedTuple):
    """One effective value as TOML and JSON would hold it, secrets masked, and its origin."""

    key: str
    shown: object
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration. `Config()` is all defaults."""

    server: Server = field(default_factory=Server)
    tls: Tls = field(default_factory=Tls)
    data: Data = field(default_factory=Data)
    upstream: Upstream = field(default_factory=Upstream)
    pending: Pending = field(default_factory=Pending)
    stripe: Stripe = field(default_factory=Stripe)
    email: Email = field(default_factory=Email)
    auth: Auth = field(default_factory=Auth)
    signup: Signup = field(default_factory=Signup)
    pricing: Pricing = field(default_factory=Pricing)
    limits: Limits = field(default_factory=Limits)
    holds: Holds = field(default_factory=Holds)
    brakes: Brakes = field(default_factory=Brakes)
    branding: Branding = field(default_factory=Branding)
    backup: Backup = field(default_factory=Backup)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    operator: Operator = field(default_factory=Operator)
    sandbox: Sandbox = field(default_factory=Sandbox)
    path: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def mode(self) -> str:
        """`live`, or `sandbox` where no upstream key is set or the sandbox is asked for."""
        return "live" if self.upstream.api_key and not self.sandbox.enabled else "sandbox"

    def origin(self, key: str) -> str:
        """Where a value comes from: `default`, `file:LINE`, `env NAME` or `flag --x`."""
        assert key in all_keys(), key
        return self.origins.get(key, "default")

    def is_locked(self, key: str) -> bool:
        """Whether the value is set here, and so wins over what the database says."""
        return self.origin(key) != "default"

    def locked_line(self, key: str) -> int | None:
        """The line of the file that sets this value; None where another origin does, or none."""
        origin = self.origin(key)
        return int(origin.removeprefix("file:")) if origin.startswith("file:") else None

    def value(self, key: str) -> object:
        """The value of a key such as `server.listen`, for code that goes over many."""
        of = all_keys()[key]
        return getattr(getattr(self, of.section), of.attribute)

    def explain(self) -> Iterator[Setting]:
        """Every key in order with its effective value, secrets masked, and its origin."""
        for path, key in all_keys().items():
            yield Setting(path, key.kind.show(self.value(path)), self.origin(path))


def load(path: Path | None, env: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """The effective configuration: flag, else environment, else file, else default.

    `path` is what `--config` said; without it `$RESELLER_CONFIG` and the usual places are tried.
    `flags` go by key (`server.listen`); None means not given. Raises ConfigError.
    """
    problems: list[Problem] = []
    source = config_path(path, env)
    layers = (
        flag_layer(flags),
        env_layer(env, problems),
        file_layer(source, problems) if source else {},
    )
    spoken: Layer = {}
    sections: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for path_of, key in all_keys().items():
        for said in (layer[path_of] for layer in layers if path_of in layer):
            # What a stronger layer overrides is read too: its mistakes would show up some day.
            value = read_said(key, said, problems)
            if path_of not in spoken and value is not None:
                sections[key.section][key.attribute] = value
            spoken.setdefault(path_of, said)
    config = Config(
        **{name: of(**sections[name]) for name, of in SECTIONS.items()},
        path=source,
        origins={key: said.origin for key, said in spoken.items()},
    )
    problems += _across_fields(
        config, spoken, {each.key.removesuffix("_file") for each in problems}
    )
    if problems:
        raise ConfigError(sorted(problems, key=lambda each: (each.line is None, each.line or 0)))
    return config


def _across_fields(config: Config, spoken: Layer, wrong: set[str]) -> Iterator[Problem]:
    """Values that are fine alone and not together. Keys known to be wrong are left out."""
    for keys, message in _clashes(config):
        if wrong.isdisjoint(keys):
            said = next((spoken[key] for key in keys if key in spoken), None)
            assert said, f"the defaults clash: {message}"
            yield Problem(said.source, said.line, keys[0], message)


def _clashes(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys of each broken rule, the one to blame first, and what is wrong."""
    for key, partner in _PARTNERS:
        if config.value(key) and not config.value(partner):
            yield (key, partner), f"needs {partner} too"
    for key in _READ_FILES:
        file = config.value(key)
        if isinstance(file, Path) and not os.path.isfile(file):
            yield (key,), f"there is no file {file}"
    if config.server.body_limit_mb > config.server.bodies_in_flight_mb:
        yield (
            ("server.body_limit_mb", "server.bodies_in_flight_mb"),
            "is more than server.bodies_in_flight_mb, so the largest body would never be read",
        )
    if config.metrics.listen == config.server.listen and config.server.port:
        yield ("metrics.listen", "server.listen"), "is server.listen; use another port"
    if config.holds.minimum_tokens > config.holds.max_output_tokens:
        yield (
            ("holds.minimum_tokens", "holds.max_output_tokens"),
            "is more than holds.max_output_tokens, so no request would be let through",
        )
    if config.stripe.secret_key.startswith("pk_"):
        yield (
            ("stripe.secret_key",),
            "is the publishable key; the secret one is sk_… or rk_…",
        )


def schema() -> dict[str, object]:
    """The configuration file as a JSON Schema, for editors that check TOML."""
    sections: dict[str, object] = {}
    for section, of in SECTIONS.items():
        properties: dict[str, object] = {}
        for key in keys_of(section):
            described = {"description": key.about, "default": key.kind.show(key.default)}
            properties[key.name] = key.kind.json_schema() | described
            if key.kind.is_secret:
                properties[f"{key.name}_file"] = {
                    "type": "string",
                    "description": f"File that holds {key.name}.",
                }
        sections[section] = {
            "type": "object",
            "description": of.__doc__,
            "properties": properties,
            "additionalProperties": False,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "reseller.toml",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }
