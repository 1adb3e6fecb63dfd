"""Decides what becomes of an inference request: refused, or a generation at a price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reseller.sandbox.answers import Generation
from reseller.sandbox.answers_other import IMAGE_TOKENS
from reseller.sandbox.asked import Asked, Preferences
from reseller.sandbox.behaviour import Behaviour
from reseller.sandbox.books import Billed
from reseller.sandbox.catalogue import FAULT_PREFIX, Endpoint, Model
from reseller.sandbox.costs import Counts, Rates, units
from reseller.sandbox.faults import ORDINARY, Fault, fault_named
from reseller.sandbox.refusals import error_body, fault_refusal
from reseller.sandbox.state import State

_OUTPUTS = {
    "embeddings": "embeddings",
    "rerank": "rerank",
    "images": "image",
    "speech": "speech",
    "transcriptions": "transcription",
}
_TOOL_TOKENS = 12
_DEFAULT_CAP = 16_384
_WEB_FEE = units("0.007")
_TIERS = {"priority": "priority", "fast": "priority", "flex": "flex"}


@dataclass(slots=True)
class Refusal(Exception):
    """The request is answered with an error before any work."""

    status: int
    body: bytes
    extra: bytes = b""


def refuse(
    asked_api: str,
    status: int,
    error_type: str,
    message: str,
    availability: str = "",
    model: str = "",
) -> Refusal:
    """A refusal of the simulator's own, not asked for by a fault."""
    about = {"code": availability, "retryable": False, "requested_models": [model]}
    return Refusal(
        status,
        error_body(
            asked_api,
            status,
            error_type,
            message,
            availability=about if availability else None,
            shows_user=status == 402,
        ),
    )


def choose_fault(state: State, asked: Asked, wishes: dict[str, str], body: bytes) -> Fault:
    """The fault this request is to show: wished for, named as a model, or waiting in the queue."""
    name = wishes.get("fault", "")
    if not name and asked.model.startswith(FAULT_PREFIX):
        name = asked.model.removeprefix(FAULT_PREFIX)
    if not name:
        if not state.faults.waiting:
            return ORDINARY
        return state.faults.take("inference", asked.model, body) or ORDINARY
    fault = fault_named(name)
    if fault is None or fault.scope != "inference":
        raise refuse(asked.api, 400, "invalid_request", f"There is no fault {name}", model=name)
    return fault


def decide(
    state: State, asked: Asked, fault: Fault, settings: Behaviour, wishes: dict[str, str]
) -> Generation:
    """The generation this request gets. Raises Refusal."""
    if fault.status:
        raise Refusal(fault.status, *fault_refusal(asked.api, fault, asked.model))
    listed = _listed(state, asked)
    model = state.catalogue.concrete(listed)
    if asked.prompt_tokens > model.context_length:
        message = f"The prompt has {asked.prompt_tokens} tokens, more than the context"
        raise refuse(asked.api, 400, "context_length_exceeded", message)
    if fault.other_model:
        model = state.catalogue.models[fault.other_model]
    hhmm = _hhmm(state.record_clock.now_ms())
    endpoint, rates = _endpoint(asked, model, hhmm, dearest=settings.use_dearest_endpoint)
    generation = Generation(
        id=_new_id(state),
        created=state.clock.now_ms() // 1000,
        api=asked.api,
        model=model.id,
        provider=endpoint.provider,
        counts=_prompt_counts(asked.prompt_tokens, fault),
        rates=rates,
        fault=fault,
        choices=asked.count,
        chunk_tokens=settings.chunk_tokens,
        usage_shape=settings.usage_chunk_shape,
        is_streamed=asked.is_stream,
        is_byok=fault.is_byok or model.is_byok,
        is_free=fault.is_free,
        has_exponent=settings.exponent_costs,
        stops_on_cancel=endpoint.stops_on_cancel,
        marker=wishes.get("mark", ""),
        user=asked.user,
    )
    if asked.tier in _TIERS:
        generation.tier = f'"{asked.tier}"'
    if asked.model.endswith(":online"):
        generation.extra_cost = _WEB_FEE
    _count_answer(generation, asked, model, settings, "tool" in wishes)
    if state.behaviour.checks_balance:
        _check_balance(state, asked, model, generation)
    return generation


def _new_id(state: State) -> str:
    return f"gen-{state.clock.now_ms() // 1000}-{state.ids.random_text(20)}"


def _hhmm(now_ms: int) -> int:
    minutes = now_ms // 60_000 % 1_440
    return minutes // 60 * 100 + minutes % 60


def _listed(state: State, asked: Asked) -> Model:
    """The first of the named models that exists and is of the right kind."""
    output = _OUTPUTS.get(asked.api, "text")
    wrong = None
    for name in [asked.model, *asked.models]:
        model = state.catalogue.find(name)
        if model is None:
            continue
        if model.output == output and not model.id.endswith(":batch"):
            return model
        wrong = name
    if wrong is not None:
        message = f"{wrong} is not served here"
        raise refuse(asked.api, 400, "invalid_request", message, "wrong_endpoint", wrong)
    message = f"{asked.model} is not a valid model ID"
    raise refuse(asked.api, 400, "invalid_request", message, "model_not_found", asked.model)


def _endpoint(asked: Asked, model: Model, hhmm: int, *, dearest: bool) -> tuple[Endpoint, Rates]:
    """The cheapest endpoint that fits, or the dearest."""
    if asked.provider is None and len(model.endpoints) == 1 and asked.tier is None:
        endpoint = model.endpoints[0]
        return endpoint, endpoint.rates(asked.prompt_tokens, hhmm)
    offers = list(_offers(asked, model, hhmm))
    cap = asked.provider.max_price if asked.provider else None
    fitting = [offer for offer in offers if cap is None or cap.admits(offer[1])]
    if not fitting:
        message = "No endpoint fits the price limits and provider preferences"
        raise refuse(asked.api, 404, "not_found", message, "constraint_filtered", asked.model)
    choose = max if dearest else min
    return choose(fitting, key=lambda offer: offer[1].prompt + offer[1].completion)


def _offers(asked: Asked, model: Model, hhmm: int) -> Iterator[tuple[Endpoint, Rates]]:
    """The endpoints of the tier asked for; a tier nobody lists is double or half the price."""
    tier = _TIERS.get(asked.tier or "", "")
    if asked.model.endswith(":nitro"):
        tier = "priority"
    special = [e for e in model.endpoints if tier and e.tag.endswith(f"/{tier}")]
    percent = {"priority": 200, "flex": 50}.get(tier, 100) if not special else 100
    for endpoint in special or [e for e in model.endpoints if e.is_standard]:
        if _is_allowed(endpoint, asked.provider):
            rates = endpoint.rates(asked.prompt_tokens, hhmm)
            yield endpoint, rates if percent == 100 else rates.scaled(percent)


def _is_allowed(endpoint: Endpoint, preferences: Preferences | None) -> bool:
    if preferences is None:
        return True
    names = {endpoint.provider.lower(), endpoint.tag.partition("/")[0]}
    only, ignore = preferences.only, preferences.ignore
    if only is not None and not names & {name.lower() for name in only}:
        return False
    return not (ignore and names & {name.lower() for name in ignore})


def _prompt_counts(prompt: int, fault: Fault) -> Counts:
    prompt = max(1, prompt)
    return Counts(
        prompt=prompt,
        cached=prompt * fault.cached_percent // 100,
        cache_write=prompt * fault.cache_write_percent // 100,
    )


def _count_answer(
    generation: Generation, asked: Asked, model: Model, settings: Behaviour, wants_tool: bool
) -> None:
    """How long the answer is, within the cap, and how it ends."""
    counts, fault = generation.counts, generation.fault
    if model.output != "text":
        _count_other(generation, asked, model)
        return
    spoken = settings.answer_tokens
    if asked.tool and (wants_tool or asked.tool_is_forced):
        spoken, generation.tool, generation.finish = _TOOL_TOKENS, asked.tool, "tool_calls"
    thought = settings.reasoning_tokens or model.reasoning_tokens
    cap = asked.cap or model.max_completion_tokens
    whole = thought + settings.hidden_tokens + spoken
    if cap is not None and whole > cap:
        thought = min(thought, cap)
        spoken = max(0, cap - thought - settings.hidden_tokens)
        whole, generation.finish, generation.tool = cap, "length", ""
    if fault.finish:
        generation.finish = fault.finish
    generation.spoken_tokens, generation.thought_tokens = spoken, thought
    counts.reasoning = thought * asked.count
    counts.completion = whole * asked.count
    if fault.extra_tokens:
        counts.completion += (cap or 0) - whole + fault.extra_tokens


def _count_other(generation: Generation, asked: Asked, model: Model) -> None:
    counts, other = generation.counts, asked.other
    if model.output == "image":
        counts.images = counts.completion = IMAGE_TOKENS * asked.count
    elif model.output == "speech" and other is not None:
        counts.prompt = len(str(other.input))
    elif model.output == "transcription":
        counts.completion = generation.spoken_tokens = 12


def _check_balance(state: State, asked: Asked, model: Model, generation: Generation) -> None:
    """402 where the balance cannot cover the prompt and the cap; free models only below zero."""
    rates, balance = generation.rates, state.balance_units
    prompt = generation.counts.prompt * rates.prompt + rates.request
    cap = asked.cap or model.max_completion_tokens or _DEFAULT_CAP
    needed = prompt + cap * rates.completion
    if generation.is_byok or (balance >= needed and balance >= 0):
        return
    if balance < prompt or not rates.completion:
        can = max(0, balance // rates.prompt) if rates.prompt else 0
        message = f"Prompt tokens limit exceeded: {generation.counts.prompt} > {can}"
    else:
        can = (balance - prompt) // rates.completion
        message = f"Out of credits: you requested up to {cap} tokens, but can only afford {can}"
    raise refuse(asked.api, 402, "payment_required", message)


def bill(state: State, generation: Generation, *, made: int | None = None) -> None:
    """Put the generation into the books, once; with `made` only that many tokens, as cancelled."""
    if generation.is_billed:
        return
    generation.is_billed = True
    counts = generation.counts
    if made is not None:
        counts.completion = min(made, counts.completion)
        counts.reasoning = min(counts.reasoning, counts.completion)
    now = state.record_clock.now_ms()
    behaviour = state.behaviour
    is_late = generation.fault.record == "late"
    delay = behaviour.late_record_ms if is_late else behaviour.generation_delay_ms
    state.books.add(
        Billed(
            id=generation.id,
            model=generation.model,
            provider=generation.provider,
            api=generation.api,
            cost_units=generation.cost_units,
            inference_units=generation.inference_units,
            counts=counts,
            is_byok=generation.is_byok,
            is_cancelled=made is not None,
            is_streamed=generation.is_streamed,
            finish=generation.finish,
            billed_at=now,
            visible_at=now + delay,
            marker=generation.marker,
            external_user=generation.user,
            record=generation.fault.record,
        )
    )
