"""The public pages: what they say, what they carry, and that they ask nobody else for anything."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from quart.typing import TestClientProtocol as Browser

from reseller import admission
from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.config_schema import Branding, Data, Pricing, Server
from reseller.core import Core, open_core
from reseller.ids import Ids
from reseller.money.pricing import PriceRule
from reseller.sync import ModelSync
from reseller.web.app import build_web
from reseller.web.colour import DARK_PAPER, LIGHT_PAPER, accent_from, contrast, parse
from reseller.web.figures import count_shown, usd_shown

HTML = {"accept": "text/html,*/*"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "form-action 'self' https://checkout.stripe.com; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A shop with a name and a colour, in the sandbox."""
    return replace(
        Config(),
        data=Data(dir=tmp_path, ballast_mb=0),
        server=Server(base_url="https://ai.example.com"),
        branding=Branding(name="Harbour <AI>", accent="#ffcc00", support_email="help@example.com"),
        pricing=Pricing(markup_bps=5_000),
    )


@pytest.fixture
async def core(config: Config, clock: ShiftedClock, ids: Ids) -> AsyncIterator[Core]:
    """The shop, open, with two models and one that is blocked."""
    async with open_core(config, clock, ids) as opened:
        await sell(opened, ("a/one", "0.000001", "0.0000033333"), ("b/two", "0.00001", "0.00003"))
        yield opened


@pytest.fixture
def client(core: Core) -> Browser:
    """A browser without a network."""
    return build_web(core).test_client()


async def sell(core: Core, *models: tuple[str, str, str]) -> None:
    """Have the upstream list these models."""
    entries = [
        {
            "id": name,
            "name": name.title(),
            "created": 5,
            "context_length": 131_072,
            "architecture": {"output_modalities": ["text"]},
            "pricing": {"prompt": prompt, "completion": completion, "audio": "0.5"},
        }
        for name, prompt, completion in models
    ]
    text = json.dumps({"data": entries})
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
    async with httpx.AsyncClient(transport=transport) as http:
        await ModelSync(core, http).refresh()


class Links(HTMLParser):
    """Everything a page fetches or leads to, and what CSP would refuse."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.led_to: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort one tag's addresses."""
        found = dict(attrs)
        if found.get("src"):
            self.fetched.append(str(found["src"]))
        if found.get("href"):
            (self.fetched if tag == "link" else self.led_to).append(str(found["href"]))
        if tag == "style" or (tag == "script" and not found.get("src")):
            self.inline.append(tag)
        self.inline += [name for name in found if name == "style" or name.startswith("on")]


async def test_landing_says_what_matters(client: Browser) -> None:
    """Name, base URL, a snippet, prices with the markup, the sandbox's banner."""
    response = await client.get("/", headers=HTML)
    page = await response.get_data(as_text=True)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "Harbour &lt;AI&gt;" in page
    assert "Harbour <AI>" not in page
    assert "https://ai.example.com/v1/chat/completions" in page
    assert "mailto:help@example.com" in page
    assert "no real money moves" in page
    # 1 and 3.3333 USD a million, 10 and 30, each with half on top; 3.3333 is shown rounded up.
    for price in ("1.50", "5.00", "15.00", "45.00"):
        dollars, cents = price.split(".")
        assert f'${dollars}<span class="fraction">.{cents}</span>' in page
    assert 'title="4.99995 USD"' in page
    assert "131 K" in page


async def test_prices_follow_the_catalogue_and_the_rules(core: Core, client: Browser) -> None:
    """A new list or a new rule shows at the next request; blocked models do not show."""
    await client.get("/")
    core.live.replace_rules([PriceRule("b/*", 0, block=True), PriceRule("a/*", 0)])
    page = await (await client.get("/")).get_data(as_text=True)
    assert "b/two" not in page
    assert '$1<span class="fraction">.00</span>' in page
    await sell(core, ("a/one", "0.000002", "0.000004"), ("b/two", "0.00001", "0.00003"))
    page = await (await client.get("/")).get_data(as_text=True)
    assert '$2<span class="fraction">.00</span>' in page


async def test_landing_of_an_empty_shop(
    config: Config, clock: ShiftedClock, ids: Ids, tmp_path: Path
) -> None:
    """Before the first list of models, without support address, without a base URL."""
    bare = replace(Config(), data=Data(dir=tmp_path / "bare", ballast_mb=0))
    (tmp_path / "bare").mkdir()
    async with open_core(bare, clock, ids) as core:
        client = build_web(core).test_client()
        page = await (await client.get("/", headers={"host": "shop.test:81"})).get_data(
            as_text=True
        )
        assert "http://shop.test:81/v1" in page
        assert "Prices</h2>" not in page
        page = await (await client.get("/", headers={"host": "a b<c>"})).get_data(as_text=True)
        assert "http://127.0.0.1:8080/v1" in page


@pytest.mark.parametrize("path", ["/", "/nothing", "/openapi.json", "/healthz", "/robots.txt"])
async def test_every_answer_is_protected(client: Browser, path: str) -> None:
    """The policy is the one that was tested clean, on errors too."""
    response = await client.get(path, headers=HTML)
    assert response.headers["content-security-policy"] == CSP
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_pages_fetch_only_what_is_ours(client: Browser, path: str) -> None:
    """No other host, nothing inline, and every file is there, for ever, and small."""
    page = await (await client.get(path, headers=HTML)).get_data(as_text=True)
    links = Links(page)
    assert not links.inline
    assert not re.findall(r"https?://(?!ai\.example\.com)[^\s\"'<]+", page.replace("&#39;", "'"))
    size = len(page)
    for address in links.fetched:
        assert re.fullmatch(r"/static/[a-z]+\.[0-9a-f]{10}\.(css|js|svg)", address)
        response = await client.get(address, headers={"accept-encoding": "gzip"})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        size += len(await response.get_data(as_text=False))
    assert size < 40_000
    for address in links.led_to:
        if address.startswith("/"):
            assert (await client.get(address.partition("#")[0], headers=HTML)).status_code == 200


async def test_static_files_have_no_other_names(client: Browser) -> None:
    """The bare name, another hash and the way out of the folder lead nowhere."""
    for name in ("site.css", "site.0000000000.css", "..%2fapp.py", "%2e%2e/app.py", ""):
        assert (await client.get("/static/" + name)).status_code == 404


async def test_stylesheet_is_within_its_bound(client: Browser) -> None:
    """Hand-written, at most 24 KB."""
    page = await (await client.get("/")).get_data(as_text=True)
    address = re.search(r"/static/site\.[0-9a-f]+\.css", page)
    assert address is not None
    body = await (await client.get(address[0])).get_data(as_text=True)
    assert len(body) < 24_576
    assert "light-dark(" in body
    assert "url(" not in body
    assert "@import" not in body


async def test_missing_pages_answer_in_kind(client: Browser) -> None:
    """Browsers get a page, programs an error object that says where the API is."""
    response = await client.get("/chat/completions", headers=HTML)
    assert response.status_code == 404
    assert "There is nothing here" in await response.get_data(as_text=True)
    response = await client.post("/healthz", json={})
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]
    response = await client.get("/chat/completions")
    error = (await response.get_json())["error"]
    assert error["code"] == "not_found"
    assert "/v1" in error["message"]


async def test_our_mistakes_show_nothing(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    """A page that breaks is logged and answered without its reason."""
    app = build_web(core)

    async def broken() -> str:
        raise ValueError("the secret reason")

    app.add_url_rule("/broken", view_func=broken)
    response = await app.test_client().get("/broken", headers=HTML)
    assert response.status_code == 500
    assert "secret reason" not in await response.get_data(as_text=True)
    assert "secret reason" in caplog.text


async def test_health_and_readiness(core: Core, client: Browser) -> None:
    """Alive is alive; ready needs disk, database and schema."""
    for path in ("/healthz", "/up"):
        assert (await (await client.get(path)).get_json()) == {"status": "ok"}
    response = await client.get("/readyz")
    assert response.status_code == 200
    assert (await response.get_json())["checks"] == {
        "database": True,
        "migrations": True,
        "disk": True,
    }
    core.live.admission.close(admission.UPSTREAM_BALANCE, "empty")
    assert (await client.get("/readyz")).status_code == 200
    core.live.admission.close(admission.DISK, "full")
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert (await response.get_json())["checks"]["disk"] is False
    core.live.admission.open(admission.DISK)
    await core.journal.write(lambda db: db.execute("delete from _sqlite_migrations"))
    assert (await (await client.get("/readyz")).get_json())["checks"]["migrations"] is False


async def test_machines_are_told(client: Browser) -> None:
    """The OpenAPI document names this shop; robots keep out of a sandbox."""
    response = await client.get("/openapi.json")
    document = await response.get_json()
    assert document["servers"][0] == {"url": "https://ai.example.com/v1"}
    assert response.headers["access-control-allow-origin"] == "*"
    robots = await (await client.get("/robots.txt")).get_data(as_text=True)
    assert robots == "User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize("colour", ["", "#ffcc00", "#000000", "#fff", "#2f6f4f", "#7f7f7f", "#00f"])
def test_any_accent_is_readable(colour: str) -> None:
    """Text in the accent and on it meets AA in both themes."""
    accent = accent_from(colour)
    assert contrast(parse(accent.light), LIGHT_PAPER) >= 4.5
    assert contrast(parse(accent.dark), DARK_PAPER) >= 4.5
    assert contrast(parse(accent.light), parse(accent.on_light)) >= 4.5
    assert contrast(parse(accent.dark), parse(accent.on_dark)) >= 4.5


def test_figures() -> None:
    """Money and counts as people read them."""
    shown = [usd_shown(n) for n in (0, 168_000, 13_740, 12_340_000_000, 999_999_999, -5 * 10**8)]
    assert shown == ["$0.00", "$0.000168", "$0.0000138", "$12.34", "$1.00", "-$0.50"]
    assert usd_shown(1_234_567_000_000_001) == "$1,234,567.01"
    shown = [count_shown(n) for n in (0, 999, 1_000, 131_072, 1_048_576, 999_999, 2 * 10**9)]
    assert shown == ["0", "999", "1 K", "131 K", "1.05 M", "1 M", "2 B"]
