"""Types in a page: the server's verdict and its words are the same there as everywhere."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from midstream import can_read, can_send
from midstream.v1.input_stream_pb2 import InputStreamOptions
from midstream.v1.schema_service_pb2 import RegisterSchemasRequest
from support.backend import Backend
from support.browser import Tab, open_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180, func_only=True), pytest.mark.slow]

SHARED = json.loads((Path(__file__).parents[1] / "conformance" / "validity.json").read_text())


async def tab_of(context: BrowserContext, site: str, backend: Backend, run_id: str) -> Tab:
    token = await backend.client.mint_token([can_read(run_id), can_send(run_id)], subject="page")
    return await open_tab(context, site, backend.web_url, run_id, token.token)


async def register(backend: Backend) -> dict[str, list[dict[str, Any]]]:
    """The shared schemas. Returns the cases of each stream."""
    cases: dict[str, list[dict[str, Any]]] = {}
    streams: list[RegisterSchemasRequest.JsonStream] = []
    for schema in SHARED["protobuf"]:
        descriptors = base64.b64decode(schema["descriptorSet"])
        await backend.client.schemas.register(file_descriptor_set=descriptors, force=True)
        cases[schema["stream"]] = schema["cases"]
    for schema in SHARED["jsonSchema"]:
        stream_id = f"json-{schema['name']}"
        described = json.dumps(schema["schema"])
        options = InputStreamOptions(id=stream_id)
        streams.append(RegisterSchemasRequest.JsonStream(options=options, schema=described))
        cases[stream_id] = schema["cases"]
    await backend.client.schemas.register_request(RegisterSchemasRequest(json_streams=streams))
    return cases


async def test_the_door_says_in_a_page_what_it_says_to_python(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    streams = await register(backend)
    seen = await backend.start_run()
    other = await backend.start_run()
    tab = await tab_of(context, site, backend, seen.id)
    for stream_id, cases in streams.items():
        texts = [case["json"] for case in cases]
        answers = await tab.page.evaluate("([stream, texts]) => window.atTheDoor(stream, texts)", [stream_id, texts])
        results = await backend.client.send_many(other.id, stream_id, [json.loads(text) for text in texts])
        for case, answer, result in zip(cases, answers, results, strict=True):
            said = {"reason": result.error.reason, **result.error.fields} if result.error is not None else None
            assert answer == said, (stream_id, case["json"])
            assert (answer is None) == case["valid"], (stream_id, case["json"], answer)


async def test_every_kind_of_field_comes_back_as_it_was_sent(
    context: BrowserContext, site: str, backend: Backend
) -> None:
    run = await backend.start_run()
    tab = await tab_of(context, site, backend, run.id)
    sent, came, exact = await tab.page.evaluate("() => window.thereAndBack()")
    assert sent == came
    assert exact
    assert (sent["big"], sent["colour"], sent["counts"]) == ("-9223372036854775808", 77, {"a b": "9007199254740993"})
