"""The models job: storing, doubting, withdrawing, prices exact, endpoints on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reseller import admission
from reseller.clock import ShiftedClock
from reseller.config import Config
from reseller.core import Core
from reseller.errors import UpstreamFault
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator
from reseller.sync import ModelSync

CHAT = "sandbox/quick"


def entry(name: str, prompt: Any = "0.000001", completion: Any = "0.000002") -> dict[str, Any]:
    """A list entry with just what matters."""
    return {
        "id": name,
        "name": name,
        "context_length": 8_000,
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "pricing": {"prompt": prompt, "completion": completion},
        "top_provider": {"max_completion_tokens": 1_000},
    }


class Lister:
    """An upstream that lists what a test wants, page by page."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self.asked: list[httpx.Request] = []
        self.etag = ""
        self.status = 200

    def show(self, *entries: dict[str, Any]) -> None:
        """One page of these."""
        self.pages = [json.dumps({"data": entries, "links": {"next": None}})]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.etag and request.headers.get("if-none-match") == self.etag:
            return httpx.Response(304)
        page = int(request.url.params.get("page", "0"))
        headers = {"etag": self.etag} if self.etag else {}
        return httpx.Response(self.status, text=self.pages[page], headers=headers)


@pytest.fixture
def lister() -> Lister:
    """An upstream under the test's control."""
    return Lister()


@pytest.fixture
def sync(core: Core, lister: Lister) -> ModelSync:
    """A ModelSync that asks the lister."""
    return ModelSync(core, httpx.AsyncClient(transport=httpx.MockTransport(lister)))


async def test_first_list_opens_the_shop(
    core: Core, http: httpx.AsyncClient, config: Config, clock: ShiftedClock, ids: Ids
) -> None:
    """Closed until models are known; then stored, on sale, and there again after a restart."""
    sync = ModelSync(core, http)
    assert admission.CATALOGUE in core.live.admission.reasons
    said = await sync.refresh()
    assert core.live.admission.is_open
    assert len(core.live.catalogue.on_sale()) > 3
    assert said.endswith(f"0 withdrawn, {len(core.live.catalogue)} models")
    rows = await core.reader.rows("select id, name from model")
    assert {row["id"] for row in rows} >= {m.row for m in core.live.catalogue.models.values()}
    assert (await sync.refresh()).startswith("0 changed, 0 withdrawn")


async def test_upstream_down_changes_nothing(core: Core, sync: ModelSync, lister: Lister) -> None:
    """A failed fetch raises and the shop sells by what it had."""
    lister.show(entry("a/one"), entry("a/two"))
    await sync.refresh()
    for status, page in ((500, "{}"), (200, "<html>"), (200, '{"data": 5}')):
        lister.status, lister.pages = status, [page]
        with pytest.raises(UpstreamFault):
            await sync.refresh()
    assert sorted(core.live.catalogue.models) == ["a/one", "a/two"]
    assert core.live.admission.is_open


@pytest.mark.parametrize(
    "spoil",
    [
        lambda names: [],
        lambda names: [entry(name) for name in names[:4]],
        lambda names: [entry(name, "0", "0") for name in names],
        lambda names: [entry(name, "-1", "-1") for name in names],
        lambda names: [entry(name, "much", "0.1") for name in names],
        lambda names: [entry(name + "x") for name in names],
    ],
)
async def test_absurd_lists_are_not_believed(
    core: Core, sync: ModelSync, lister: Lister, spoil: Callable[[list[str]], list[dict[str, Any]]]
) -> None:
    """Empty, shrunken, free or unreadable lists leave the stored one in force."""
    names = [f"a/model-{n}" for n in range(10)]
    lister.show(*map(entry, names))
    await sync.refresh()
    lister.show(*spoil(names))
    with pytest.raises(UpstreamFault, match="not believed"):
        await sync.refresh()
    assert sorted(core.live.catalogue.models) == names
    row = await core.reader.row("select count(*) as n from model where withdrawn_at is null")
    assert row["n"] == 10


async def test_another_upstream_may_list_other_models(
    core: Core, sync: ModelSync, lister: Lister
) -> None:
    """The doubt is about one upstream's list; a new base URL starts afresh."""
    lister.show(entry("a/one"), entry("a/two"))
    await sync.refresh()
    await core.journal.write(
        lambda db: db.execute("update setting set value = 'http://old/' where name like 'models%'")
    )
    lister.show(entry("b/three"))
    assert await sync.refresh() == "1 changed, 2 withdrawn, 1 models"
    lister.show()
    with pytest.raises(UpstreamFault):
        await sync.refresh()


async def test_withdrawn_models_come_back_under_their_number(
    core: Core, sync: ModelSync, lister: Lister
) -> None:
    """A model's row outlives its absence, so that old usage still points at it."""
    lister.show(*[entry(f"a/{n}") for n in range(4)])
    await sync.refresh()
    row = core.live.catalogue.models["a/3"].row
    lister.show(*[entry(f"a/{n}") for n in range(3)])
    assert await sync.refresh() == "0 changed, 1 withdrawn, 3 models"
    lister.show(*[entry(f"a/{n}") for n in range(4)])
    assert await sync.refresh() == "1 changed, 0 withdrawn, 4 models"
    assert core.live.catalogue.models["a/3"].row == row


async def test_price_rises_are_told_for_a_day(
    core: Core, sync: ModelSync, lister: Lister, clock: ShiftedClock
) -> None:
    """A dearer model raises an alarm that names it; a cheaper one does not."""
    alarms = core.live.alarms.standing
    lister.show(entry("a/one", "0.000001", "0.000004"))
    await sync.refresh()
    lister.show(entry("a/one", "0.000001", "0.000002"))
    await sync.refresh()
    assert "price_rise" not in alarms
    lister.show(entry("a/one", "0.00000125", "0.000002"))
    await sync.refresh()
    assert alarms["price_rise"].detail == "a/one: prompt 1.00 -> 1.25 USD a million tokens"
    await sync.refresh()
    assert "price_rise" in alarms
    clock.advance(90_000)
    await sync.refresh()
    assert "price_rise" not in alarms


async def test_prices_as_numbers_stay_exact(core: Core, sync: ModelSync, lister: Lister) -> None:
    """A price written as a JSON number is kept digit by digit."""
    text = json.dumps({"data": [entry("a/one", 1, 1)]})
    lister.pages = [text.replace('"prompt": 1', '"prompt": 0.00000010000000000000001')]
    await sync.refresh()
    pricing = core.live.catalogue.models["a/one"].entry["pricing"]
    assert pricing["prompt"] == "0.00000010000000000000001"


async def test_pages_are_followed_but_not_to_another_host(
    core: Core, sync: ModelSync, lister: Lister
) -> None:
    """Relative and absolute next pages are read; the key goes to no other host."""
    lister.pages = [
        json.dumps({"data": [entry("a/one")], "links": {"next": "/api/v1/models?page=1"}}),
        json.dumps({"data": [entry("a/two")], "links": {"next": None}}),
    ]
    await sync.refresh()
    assert sorted(core.live.catalogue.models) == ["a/one", "a/two"]
    assert lister.asked[0].url.params["output_modalities"] == "all"
    lister.pages[0] = lister.pages[0].replace("/api/v1/", "http://127.0.0.9/")
    with pytest.raises(UpstreamFault, match="another host"):
        await sync.refresh()
    assert {request.url.host for request in lister.asked} == {"127.0.0.1"}


async def test_unchanged_list_is_asked_for_by_its_tag(
    core: Core, sync: ModelSync, lister: Lister
) -> None:
    """With an ETag from the upstream a second reading is a 304."""
    lister.show(entry("a/one"))
    lister.etag = '"v1"'
    await sync.refresh()
    assert await sync.refresh() == "unchanged, 1 models"


async def test_odd_entries_cost_only_themselves(
    core: Core, sync: ModelSync, lister: Lister
) -> None:
    """Entries that cannot be read are passed over."""
    lister.pages = [
        json.dumps(
            {
                "data": [
                    5,
                    {"name": "no id"},
                    entry("a/" + "x" * 300),
                    entry("a/\x07bell"),
                    {**entry("a/big"), "description": "x" * 300_000},
                    {**entry("a/odd"), "architecture": 5, "top_provider": []},
                    entry("a/one"),
                ]
            }
        )
    ]
    await sync.refresh()
    assert sorted(core.live.catalogue.models) == ["a/odd", "a/one"]


async def test_endpoints_bound_a_model(
    core: Core, http: httpx.AsyncClient, upstream: UpstreamSimulator
) -> None:
    """Asked at once by many, the upstream is asked once; the dearest standard rate counts."""
    sync = ModelSync(core, http)
    await sync.refresh()
    name = max(upstream.catalogue.models.values(), key=lambda m: len(m.endpoints)).id
    upstream.received.clear()
    answers = await asyncio.gather(*(sync.fetch_endpoints(name) for _ in range(20)))
    assert len(upstream.received) == 1
    rates = answers[0]
    assert rates is not None
    model = core.live.catalogue.models[name]
    assert model.endpoints == rates
    assert rates.prompt >= model.rates.prompt
    row = await core.reader.row("select endpoints from model where name = ?", (name,))
    stored = json.loads(row["endpoints"])
    assert len(stored) == len(upstream.catalogue.models[name].endpoints)
    assert await sync.fetch_endpoints("sandbox/nothing-of-the-kind") is None
