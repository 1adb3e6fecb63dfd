"""What the models say, and the frames and bodies of chat and completions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from reseller.sandbox.costs import Counts, Rates, Units, completion_cost, number, prompt_cost
from reseller.sandbox.faults import Fault

# Every template is built with these in place of the id and the time, of the same length.
ID_MARK = b"gen-0000000000-@@@@@@@@@@@@@@@@@@@@"
NOW_MARK = b"9999999991"
DONE = b"data: [DONE]\n\n"
TOOL_ARGUMENTS = '{"query":"sandbox","count":3}'
_FEW = (3, 12)
_PIECE = b'%b"choices":[{"index":%d,%b,"finish_reason":null,"native_finish_reason":null}]}\n\n'

_LINES = (
    "This answer was made by the sandbox . No model thought about it , so no real money moved . "
    "The words stand in a fixed order , so that every test can count them . Ask for more tokens "
    "and the same lines come round again , calm as a carousel at closing time . Money , frames "
    "and errors behave as they would upstream , which is all a rehearsal stage has to do ."
)
_WORDS = tuple(_LINES.split())


@dataclass(slots=True)
class Generation:
    """One answer in the making: what was counted, what it costs, how it is to look.

    `spoken_tokens` and `thought_tokens` are what one choice shows; more may be counted.
    """

    id: str
    created: int
    api: str
    model: str
    provider: str
    counts: Counts
    rates: Rates
    fault: Fault
    finish: str = "stop"
    choices: int = 1
    chunk_tokens: int = 1
    usage_shape: str = "repeated_finish"
    tool: str = ""
    tier: str = "null"
    is_streamed: bool = False
    is_byok: bool = False
    is_free: bool = False
    has_exponent: bool = False
    stops_on_cancel: bool = False
    marker: str = ""
    user: str | None = None
    is_billed: bool = False
    extra_cost: Units = 0
    spoken_tokens: int = 0
    thought_tokens: int = 0

    @property
    def inference_units(self) -> Units:
        """What the provider's price comes to."""
        if self.is_free:
            return 0
        return (
            prompt_cost(self.rates, self.counts)
            + completion_cost(self.rates, self.counts)
            + self.extra_cost
        )

    @property
    def cost_units(self) -> Units:
        """What the account pays the upstream."""
        return 0 if self.is_byok else self.inference_units


@dataclass(slots=True)
class Frames:
    """A stream in the parts at which it can be held, cut or disturbed."""

    opening: list[bytes] = field(default_factory=list)
    pieces: list[tuple[bytes, int]] = field(default_factory=list)
    closing: list[bytes] = field(default_factory=list)
    joined: bytes = b""


@lru_cache(maxsize=512)
def text_of(tokens: int, start: int = 0) -> str:
    """Exactly so many tokens of text: a word or a mark each."""
    size = len(_WORDS)
    words = [_WORDS[i % size] for i in range(start, start + tokens)]
    return "".join(
        w if w in ".,:" else (w if i + start == 0 else " " + w) for i, w in enumerate(words)
    )


def money_fields(generation: Generation, prompt_key: str, completion_key: str) -> str:
    """`cost`, `is_byok` and `cost_details`, each with its comma in front; or what the fault has."""
    fault = generation.fault
    exponent = generation.has_exponent or fault.cost_text == "exponent"
    units = generation.inference_units
    flag = "true" if generation.is_byok else "false"
    if fault.cost_text not in ("", "exponent", "text"):
        cost = "" if fault.cost_text == "absent" else f',"cost":{fault.cost_text}'
        return f'{cost},"is_byok":{flag},"cost_details":null'
    whole = number(units, exponent=exponent)
    cost = "0" if generation.is_byok else whole
    if fault.cost_text == "text":
        cost = f'"{cost}"'
    spent = 0 if generation.is_free else prompt_cost(generation.rates, generation.counts)
    prompt = number(spent, exponent=exponent)
    completion = number(units - spent, exponent=exponent)
    return (
        f',"cost":{cost},"is_byok":{flag},"cost_details":{{"upstream_inference_cost":{whole},'
        f'"{prompt_key}":{prompt},"{completion_key}":{completion}}}'
    )


def chat_usage(generation: Generation) -> str:
    """The usage object of chat and completions."""
    c = generation.counts
    money = money_fields(
        generation, "upstream_inference_prompt_cost", "upstream_inference_completions_cost"
    )
    return (
        f'{{"prompt_tokens":{c.prompt},"completion_tokens":{c.completion},'
        f'"total_tokens":{c.prompt + c.completion}{money},'
        f'"prompt_tokens_details":{{"cached_tokens":{c.cached},'
        f'"cache_write_tokens":{c.cache_write},"audio_tokens":0,"video_tokens":0}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{c.reasoning},"image_tokens":{c.images},'
        f'"audio_tokens":0}}}}'
    )


@lru_cache(maxsize=1024)
def chat_head(api: str, model: str, provider: str) -> bytes:
    """How every frame of a chat stream begins, up to and with the comma before what differs."""
    kind = "text_completion" if api == "completions" else "chat.completion.chunk"
    return b'data: {"id":"%b","object":"%b","created":%b,"model":%b,"provider":%b,' % (
        ID_MARK,
        kind.encode(),
        NOW_MARK,
        msgspec.json.encode(model),
        msgspec.json.encode(provider),
    )


@lru_cache(maxsize=64)
def chat_frames(
    api: str,
    model: str,
    provider: str,
    tokens: int,
    reasoning: int,
    chunk_tokens: int,
    finish: str,
    tool: str,
    choices: int,
) -> Frames:
    """The frames of an answer of so many tokens per choice, all but the usage and the end."""
    head = chat_head(api, model, provider)
    frames = Frames()
    deltas = _deltas(api, reasoning, chunk_tokens, "reasoning")
    deltas += _tool_deltas(tokens, tool) if tool else _deltas(api, tokens, chunk_tokens, "content")
    for delta, count in deltas:
        for index in range(choices):
            frames.pieces.append((_PIECE % (head, index, delta), count))
    for index in range(choices):
        frames.closing.append(head + b'"choices":[%b]}\n\n' % _last_choice(api, index, finish))
    frames.joined = joined([*(f for f, _ in frames.pieces), *frames.closing])
    return frames


def joined(frames: list[bytes]) -> bytes:
    """Frames as chunks of a body, to be written in one go."""
    return b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames])


def _deltas(api: str, tokens: int, chunk_tokens: int, kind: str) -> list[tuple[bytes, int]]:
    found = []
    for start in range(0, tokens, chunk_tokens):
        count = min(chunk_tokens, tokens - start)
        text = msgspec.json.encode(text_of(count, start)) if count else b'""'
        if api == "completions":
            found.append((b'"text":%b,"logprobs":null' % text, count))
        elif kind == "reasoning":
            delta = (
                b'"delta":{"role":"assistant","content":"","reasoning":%b,"reasoning_details":[]}'
            )
            found.append((delta % text, count))
        else:
            found.append((b'"delta":{"role":"assistant","content":%b}' % text, count))
    return found


def _tool_deltas(tokens: int, tool: str) -> list[tuple[bytes, int]]:
    """A tool call in four pieces: its name, then its arguments."""
    shares = [tokens - 3 * (tokens // 4), *[tokens // 4] * 3]
    text = TOOL_ARGUMENTS
    parts = ["", text[: _FEW[0]], text[_FEW[0] : _FEW[1]], text[_FEW[1] :]]
    found = []
    for place, (share, part) in enumerate(zip(shares, parts, strict=True)):
        call = {"index": 0, "function": {"arguments": part}}
        if place == 0:
            call |= {"id": "call_sandbox0001", "type": "function"}
            call["function"] = {"name": tool, "arguments": ""}
        delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        found.append((b'"delta":%b' % msgspec.json.encode(delta), share))
    return found


def _last_choice(api: str, index: int, finish: str) -> bytes:
    said = b'"text":""' if api == "completions" else b'"delta":{"role":"assistant","content":""}'
    reason = finish.encode()
    return b'{"index":%d,%b,"finish_reason":"%b","native_finish_reason":"%b"}' % (
        index,
        said,
        reason,
        reason,
    )


def chat_usage_frame(generation: Generation) -> bytes:
    """The last frame before `[DONE]`, in the shape asked for."""
    shape = generation.fault.usage or generation.usage_shape
    if shape == "empty_choices":
        choice = b""
    elif shape == "null_finish":
        choice = b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,'
        choice += b'"native_finish_reason":null}'
    else:
        choice = _last_choice(generation.api, 0, generation.finish)
    usage = "null" if shape == "null" else chat_usage(generation)
    return b'%b"service_tier":%b,"choices":[%b],"usage":%b}\n\n' % (
        chat_head(generation.api, generation.model, generation.provider),
        generation.tier.encode(),
        choice,
        usage.encode(),
    )


@lru_cache(maxsize=64)
def chat_choices(
    api: str, tokens: int, reasoning: int, finish: str, tool: str, count: int
) -> bytes:
    """The choices of a whole answer."""
    said = msgspec.json.encode(text_of(tokens))
    reason = finish.encode()
    error = b""
    if finish == "error":
        error = b',"error":{"code":502,"message":"The provider broke off","metadata":{"error_type":'
        error += b'"provider_unavailable"}}'
    if api == "completions":
        body = b'"text":%b' % said
    elif tool:
        call = {
            "id": "call_sandbox0001",
            "type": "function",
            "index": 0,
            "function": {"name": tool, "arguments": TOOL_ARGUMENTS},
        }
        body = b'"message":%b' % msgspec.json.encode(
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
        )
    else:
        thought = msgspec.json.encode(text_of(reasoning)) if reasoning else b"null"
        body = b'"message":{"role":"assistant","content":%b,"refusal":null,"reasoning":%b}' % (
            said,
            thought,
        )
    one = b'{"index":%d,"logprobs":null,"finish_reason":"%b","native_finish_reason":"%b",%b%b}'
    return b",".join([one % (i, reason, reason, body, error) for i in range(count)])


def chat_body(generation: Generation) -> bytes:
    """A whole answer as JSON."""
    shape = generation.fault.usage
    usage = b""
    if shape != "absent":
        usage = b',"usage":' + (b"null" if shape == "null" else chat_usage(generation).encode())
    choices = chat_choices(
        generation.api,
        generation.spoken_tokens,
        generation.thought_tokens,
        generation.finish,
        generation.tool,
        generation.choices,
    )
    kind = b"text_completion" if generation.api == "completions" else b"chat.completion"
    hides_id = generation.fault.ids in ("null", "none")
    return (
        b'{"id":%b,"object":"%b","created":%d,"model":%b,"provider":%b,'
        b'"system_fingerprint":null,"service_tier":%b,"choices":[%b]%b}'
        % (
            b"null" if hides_id else b'"%b"' % generation.id.encode(),
            kind,
            generation.created,
            msgspec.json.encode(generation.model),
            msgspec.json.encode(generation.provider),
            generation.tier.encode(),
            choices,
            usage,
        )
    )
