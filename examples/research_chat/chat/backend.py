"""The application's own backend: starts runs, hands the page a token for them, and serves the page.

It is the only one that has the API key. What the page then sends and sees goes between it and Midstream directly.
Settings: MIDSTREAM_URL and MIDSTREAM_API_KEY as for any client; CHAT_WEB_URL, the server's web listener as browsers see
it; CHAT_THINKING and CHAT_TYPING, the agent's pace.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, StringConstraints

import midstream
from chat.agent import research_chat
from chat.streams import Question, approval, stop, user_message
from chat.visitor import CurrentVisitor, Visitor
from midstream import AccessToken, Client, MidstreamError, RunNotFound, Scope, can_read, can_send

PAGE: Final = Path(__file__).parents[1] / "page" / "dist"
WEB_URL: Final = os.environ.get("CHAT_WEB_URL", "http://127.0.0.1:7780")
PACE: Final = {
    name: float(os.environ[variable])
    for name, variable in (("thinking", "CHAT_THINKING"), ("typing", "CHAT_TYPING"))
    if variable in os.environ
}


RunId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class NewRun(BaseModel):
    topic: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Entry(BaseModel):
    """What a page needs to show and to steer a run, without asking us again until the token expires."""

    run_id: str
    access_token: str
    expire_time: datetime
    midstream_url: str = WEB_URL


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with midstream.connect() as client:
        app.state.client = client
        yield


app = FastAPI(title="Research chat", lifespan=lifespan)


@app.post("/api/runs")
async def start_run(new: NewRun, visitor: CurrentVisitor, request: Request) -> Entry:
    """Starts a run for the visitor."""
    client = client_of(request)
    question = Question.model_validate({"topic": new.topic, **PACE})
    run = await research_chat.start(question, metadata={"visitor": visitor.id}, client=client)
    return entry(run.id, await client.mint_token(scopes(run.id), subject=visitor.id))


@app.get("/api/runs/{run_id}")
async def enter_run(run_id: RunId, visitor: CurrentVisitor, request: Request) -> Entry:
    """A fresh token for a run of the visitor's own: whose it is stands in its metadata, so nothing is stored here."""
    client = client_of(request)
    try:
        run = await client.get_run(run_id)
    except RunNotFound:
        raise no_such_run(run_id) from None
    if not is_of(run, visitor):
        raise no_such_run(run_id)
    return entry(run_id, await client.mint_token(scopes(run_id), subject=visitor.id))


@app.get("/")
@app.get("/runs/{run_id}")
async def page(run_id: str = "") -> FileResponse:
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


app.mount("/assets", StaticFiles(directory=PAGE / "assets", check_dir=False))


def scopes(run_id: str) -> list[Scope]:
    """All that the page may do: see this run, and send to these streams of it."""
    return [can_read(run_id), *(can_send(run_id, stream) for stream in (user_message, approval, stop))]


def client_of(request: Request) -> Client:
    client: Client = request.app.state.client
    return client


def is_of(run: midstream.Run, visitor: Visitor) -> bool:
    return run.task == research_chat.name and run.metadata.get("visitor") == visitor.id


def entry(run_id: str, token: AccessToken) -> Entry:
    return Entry(run_id=run_id, access_token=token.token, expire_time=token.expire_time)


def no_such_run(run_id: str) -> HTTPException:
    return HTTPException(404, f"There is no run {run_id} of yours.")


@app.exception_handler(MidstreamError)
async def midstream_failed(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"Midstream: {error}"}, status_code=503)
