"""A stand-in for the upstream on loopback: real HTTP, its own catalogue, its own books."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from reseller.clock import Clock
from reseller.ids import Ids
from reseller.sandbox.answers import Generation
from reseller.sandbox.answers_other import (
    embeddings_body,
    images_body,
    rerank_body,
    speech_bytes,
    transcription_body,
)
from reseller.sandbox.asked import Asked, Unreadable, read_asked
from reseller.sandbox.behaviour import Behaviour, directives, header_wishes
from reseller.sandbox.control import control
from reseller.sandbox.delivery import Delivery, send_stream, send_whole
from reseller.sandbox.dialects import DIALECTS
from reseller.sandbox.inference import Refusal, choose_fault, decide
from reseller.sandbox.reads import read
from reseller.sandbox.refusals import error_body
from reseller.sandbox.state import State
from reseller.sandbox.wire import Wire

BASE = "/api/v1"
_POSTS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/messages": "messages",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
    "/images": "images",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
}
_INFERENCE = {BASE + path: api for path, api in _POSTS.items()}
_STOP_S = 0.01


class UpstreamSimulator(State):
    """The simulator as one object: start it, steer it through its attributes, stop it."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        *,
        api_key: str = "sk-or-sandbox",
        credit_usd: str = "1000",
        keep_books: bool = True,
        list_fault_models: bool = False,
    ) -> None:
        super().__init__(clock, ids, api_key=api_key, credit_usd=credit_usd, keep_books=keep_books)
        self.behaviour.list_fault_models = list_fault_models
        self.base_url = ""
        self.control_url = ""
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the base URL, `http://…/api/v1`. Port 0 takes a free one."""
        server = web.Server(
            self._handle, request_factory=_request, access_log=None, keepalive_timeout=75.0
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=2048)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.control_url = f"http://{host}:{bound}/sim"
        self.base_url = f"http://{host}:{bound}{BASE}"
        return self.base_url

    async def stop(self) -> None:
        """Stop listening and break every connection off, at once."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self.gate.release()
        server = runner.server
        for connection in server.connections if server else []:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        wire = Wire(request)
        path = request.rel_url.raw_path
        try:
            if request.method == "POST" and path in _INFERENCE:
                return await self._infer(request, wire, _INFERENCE[path])
            if path.startswith("/sim/"):
                return await control(self, request, wire, path)
            self.remember(request, b"")
            if request.method == "GET" and path.startswith(BASE + "/"):
                return await read(self, request, wire, unquote(path.removeprefix(BASE)))
            body = error_body("chat", 404, "not_found", "There is nothing at this path")
            return await wire.answer(404, body)
        except ConnectionError:
            return wire.close()

    async def _infer(self, request: web.BaseRequest, wire: Wire, api: str) -> web.StreamResponse:
        try:
            if not self.knows_key(request):
                self.remember(request, b"")
                body = error_body(api, 401, "authentication", "No valid key was given")
                return await wire.answer(401, body)
            asked, body = await self._asked(request, api)
            wishes = header_wishes(request.raw_headers)
            if "[[" in asked.last_text:
                wishes = directives(asked.last_text) | wishes
            fault = choose_fault(self, asked, wishes, body)
            if fault.status and fault.hold_at and not await self.gate.hold("start", wire):
                return wire.close()
            settings = self._settings(asked.model, wishes)
            generation = decide(self, asked, fault, settings, wishes)
        except Unreadable as error:
            body = error_body(api, 400, "invalid_request", str(error))
            return await wire.answer(400, body)
        except Refusal as refusal:
            return await wire.answer(refusal.status, refusal.body, extra=refusal.extra)
        delivery = Delivery(self, wire, generation, settings)
        if asked.is_stream and api in DIALECTS:
            return await send_stream(delivery)
        return await send_whole(delivery, *_whole(generation, asked))

    def _settings(self, name: str, wishes: dict[str, str]) -> Behaviour:
        """The defaults with what the model and the request itself want otherwise."""
        model = self.catalogue.models.get(name)
        if model is not None and model.first_token_ms:
            wishes = {"first": str(model.first_token_ms)} | wishes
        return self.behaviour.steered(wishes) if wishes else self.behaviour

    async def _asked(self, request: web.BaseRequest, api: str) -> tuple[Asked, bytes]:
        if api == "transcriptions" and request.content_type == "multipart/form-data":
            return await _multipart(request, self)
        body = await request.read()
        self.remember(request, body)
        return read_asked(api, body), body


def _whole(generation: Generation, asked: Asked) -> tuple[bytes, str]:
    """Body and content type of a whole answer."""
    api = generation.api
    if api == "speech":
        return speech_bytes(generation, asked)
    if api == "embeddings":
        body = embeddings_body(generation, asked)
    elif api == "rerank":
        body = rerank_body(generation, asked)
    elif api == "images":
        body = images_body(generation, asked)
    elif api == "transcriptions":
        body = transcription_body(generation)
    else:
        body = DIALECTS[api].body(generation)
    return body, "application/json"


async def _multipart(request: web.BaseRequest, state: State) -> tuple[Asked, bytes]:
    """A transcription sent as a form, as if it had come as JSON."""
    form = await request.post()
    state.remember(request, b"(a form)")
    upload = form.get("file")
    if not isinstance(upload, web.FileField):
        raise Unreadable("The part file is missing")
    if form.get("response_format") in ("text", "srt", "vtt"):
        raise Unreadable("response_format must be json or verbose_json")
    asking: dict[str, Any] = {
        "model": form.get("model"),
        "input_audio": {"format": upload.filename, "data": ""},
    }
    body = msgspec.json.encode(asking)
    return read_asked("transcriptions", body), body


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request without a limit on its body: refusing large ones is the reseller's part."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)
