"""Bodies of embeddings, rerank, images, speech and transcriptions."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from reseller.sandbox.answers import DONE, Frames, Generation, money_fields, text_of
from reseller.sandbox.asked import Asked, OtherBody
from reseller.sandbox.costs import number

IMAGE_TOKENS = 1_290
_DIMENSIONS = 8
# One grey pixel: the smallest picture every reader accepts.
_PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
        "0000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
    )
).decode()
# A frame of silence, as MPEG layer III has it.
_SILENT_MP3 = bytes.fromhex("fffb1004") + bytes(44)


def _cost(generation: Generation) -> str:
    return money_fields(
        generation, "upstream_inference_prompt_cost", "upstream_inference_completions_cost"
    )


def embeddings_body(generation: Generation, asked: Asked) -> bytes:
    """Vectors of small numbers, one for each text; floats or base64."""
    other = asked.other or OtherBody()
    texts = other.input if isinstance(other.input, list) else [other.input]
    if texts and isinstance(texts[0], int):
        texts = [texts]
    size = other.dimensions or _DIMENSIONS
    data = []
    for index, text in enumerate(texts):
        seed = len(str(text)) + index
        vector = [((seed * 31 + place * 17) % 200 - 100) / 128 for place in range(size)]
        embedding: Any = vector
        if other.encoding_format == "base64":
            embedding = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    prompt = generation.counts.prompt
    usage = f'{{"prompt_tokens":{prompt},"total_tokens":{prompt}{_cost(generation)}}}'
    return _with_usage(
        generation,
        {"object": "list", "data": data, "model": generation.model, "id": _id(generation)},
        usage,
    )


def rerank_body(generation: Generation, asked: Asked) -> bytes:
    """The documents in the order they were given, each less relevant than the one before."""
    other = asked.other or OtherBody()
    documents = other.documents or []
    results = [
        {
            "index": index,
            "relevance_score": round(0.98 / (index + 1), 4),
            "document": {"text": document} if isinstance(document, str) else document,
        }
        for index, document in enumerate(documents)
    ]
    usage = f'{{"search_units":1,"total_tokens":{generation.counts.prompt}{_cost(generation)}}}'
    body = {
        "id": _id(generation),
        "model": generation.model,
        "provider": generation.provider,
        "results": results[: other.top_n or len(results)],
    }
    return _with_usage(generation, body, usage)


def _image_usage(generation: Generation) -> str:
    c = generation.counts
    return (
        f'{{"prompt_tokens":{c.prompt},"completion_tokens":{c.completion},'
        f'"total_tokens":{c.prompt + c.completion}{_cost(generation)},'
        f'"completion_tokens_details":{{"image_tokens":{c.images},"reasoning_tokens":0}}}}'
    )


def images_body(generation: Generation, asked: Asked) -> bytes:
    """One grey pixel for each picture asked for."""
    picture = {"b64_json": _PIXEL, "media_type": "image/png"}
    body = {"created": generation.created, "data": [picture] * asked.count}
    return _with_usage(generation, body, _image_usage(generation))


def images_frames(generation: Generation) -> Frames:
    """One partial picture; nothing is billed before the final one."""
    partial = {
        "type": "image_generation.partial_image",
        "partial_image_index": 0,
        "b64_json": _PIXEL,
    }
    return Frames(pieces=[(b"data: %b\n\n" % msgspec.json.encode(partial), 0)])


def images_end(generation: Generation) -> list[bytes]:
    """The final picture, with the usage."""
    final = {
        "type": "image_generation.completed",
        "b64_json": _PIXEL,
        "media_type": "image/png",
        "created": generation.created,
    }
    return [b"data: %b\n\n" % _with_usage(generation, final, _image_usage(generation))]


def images_done() -> list[bytes]:
    """What ends the stream."""
    return [DONE]


def speech_bytes(generation: Generation, asked: Asked) -> tuple[bytes, str]:
    """Silence, longer for a longer text, and its content type. Nothing tells what it cost."""
    other = asked.other or OtherBody()
    frames = 1 + generation.counts.prompt // 16
    if other.response_format == "mp3":
        return _SILENT_MP3 * frames, "audio/mpeg"
    return bytes(480) * frames, "audio/pcm"


def transcription_body(generation: Generation) -> bytes:
    """Words that were never said, and the seconds that were billed."""
    c = generation.counts
    cost = "" if generation.fault.cost_text == "absent" else f',"cost":{_plain_cost(generation)}'
    usage = (
        f'{{"seconds":{c.prompt},"input_tokens":{c.prompt},"output_tokens":{c.completion},'
        f'"total_tokens":{c.prompt + c.completion}{cost}}}'
    )
    return _with_usage(generation, {"text": text_of(generation.spoken_tokens)}, usage)


def _plain_cost(generation: Generation) -> str:
    text = generation.fault.cost_text
    if text not in ("", "exponent", "text"):
        return text
    exponent = generation.has_exponent or text == "exponent"
    plain = number(generation.cost_units, exponent=exponent)
    return f'"{plain}"' if text == "text" else plain


def _id(generation: Generation) -> str | None:
    return None if generation.fault.ids in ("null", "none") else generation.id


def _with_usage(generation: Generation, body: dict[str, Any], usage: str) -> bytes:
    shape = generation.fault.usage
    if shape == "absent":
        return msgspec.json.encode(body)
    return msgspec.json.encode(
        body | {"usage": msgspec.Raw(b"null" if shape == "null" else usage.encode())}
    )
