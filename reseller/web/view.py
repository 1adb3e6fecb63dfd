"""Templates: from the package, compiled at start, every variable escaped and none undefined."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

from jinja2 import DictLoader, Environment, StrictUndefined

from reseller.config import Config
from reseller.web.assets import Assets
from reseller.web.colour import accent_from
from reseller.web.figures import count_shown, usd_shown

_KINDS = (".html", ".css", ".svg")


class View:
    """Renders pages of one shop."""

    def __init__(self, config: Config) -> None:
        self._environment = Environment(
            loader=DictLoader(_templates()),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        branding = config.branding
        self._environment.globals.update(
            shop=branding.name,
            support=branding.support_email,
            accent=accent_from(branding.accent),
            is_sandbox=config.mode == "sandbox",
            initial=branding.name[:1].upper(),
        )
        self._environment.filters.update(usd=usd_shown, count=count_shown)
        made = {name: self.render(name).encode() for name in ("theme.css", "icon.svg")}
        self.assets = Assets(made, branding.logo)
        self._environment.globals.update(address=self.assets.address, logo=self.assets.logo)
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, name: str, **values: object) -> str:
        """A template with its values."""
        return self._environment.get_template(name).render(values)


def _templates() -> dict[str, str]:
    return dict(_walk(resources.files("reseller.web").joinpath("templates"), ""))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_KINDS):
            found.append((prefix + entry.name, entry.read_text("utf-8")))
    return found
