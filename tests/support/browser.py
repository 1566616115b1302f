"""A real Chromium, pages for it, and ways to disturb it."""

import asyncio
import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from playwright.async_api import BrowserContext, Page, expect

ROOT: Final = Path(__file__).parents[2]
FLAGS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS: Final = 30_000
"""For what must come. Nothing is timed by it."""

expect.set_options(timeout=PATIENCE_MS)


def find_chromium() -> str:
    """Raises RuntimeError, with what to install, where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise RuntimeError("tests/browser needs Chromium: install it (Debian: apt-get install chromium)")


def build_chat() -> None:
    """The chat's page, where it is not current. Takes a minute the first time."""
    _run("make", "--no-print-directory", "examples/research_chat/page/dist/index.html")


def build_page(directory: Path) -> None:
    """client_ts/tests/browser-page, as files to serve."""
    _run("make", "--no-print-directory", "client_ts/dist/.built")
    _run(
        "node_modules/.bin/esbuild",
        *("tests/browser-page/page.tsx", "--bundle", "--format=esm", f"--outfile={directory}/page.js"),
        # Not the paths of tests/tsconfig.json: the page uses the package as it is published.
        *('--tsconfig-raw={"compilerOptions":{"jsx":"react-jsx"}}', '--define:process.env.NODE_ENV="production"'),
        cwd=ROOT / "client_ts",
    )
    (directory / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">'
        '<div id="root"></div><script type="module" src="/page.js"></script>'
    )


def _run(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serves files on a port of its own, and so at an origin of its own."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory))) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.server_port}"
        finally:
            site.shutdown()
            thread.join()


@dataclass
class Tab:
    """The test page, which shows one run."""

    page: Page

    async def seqs(self) -> list[int]:
        records = self.page.locator("#records li")
        return [int(seq) for seq in await records.evaluate_all("all => all.map((each) => each.dataset.seq)")]

    async def shows(self, count: int) -> None:
        """Waits for this many records, which must be 1, 2, 3 and so on: no gap, no repeat."""
        await expect(self.page.locator("#records li")).to_have_count(count)
        assert await self.seqs() == list(range(1, count + 1))

    async def send(self, value: Any, **options: Any) -> dict[str, Any]:
        """What the hook's `send` resolved to: `ok`, and `seq`, or `reason`, `code` and `message`."""
        outcome: dict[str, Any] = await self.page.evaluate(
            """async ([value, options]) => {
                const { ok, receipt, error } = await window.send(value, options);
                return ok ? { ok, seq: receipt.seq, deduplicated: receipt.deduplicated }
                          : { ok, reason: error.reason, code: error.code, message: error.message };
            }""",
            [value, options],
        )
        return outcome

    async def unhandled(self) -> list[str]:
        """Rejections that nobody handled."""
        rejections: list[str] = await self.page.evaluate("window.unhandled")
        return rejections


async def open_tab(
    context: BrowserContext, site: str, midstream: str, run_id: str, token: str | None = None, *, stream: str = "s"
) -> Tab:
    page = await context.new_page()
    address = {"midstream": midstream, "run": run_id, "stream": stream}
    await page.goto(f"{site}/?{urlencode(address if token is None else address | {'token': token})}")
    await page.wait_for_function("window.send !== undefined")
    return Tab(page)


class Wire:
    """A way to a server that can be cut: what is under way breaks, and new connections are refused."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        """Lets everything through, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


@asynccontextmanager
async def wire_to(target: str) -> AsyncIterator[Wire]:
    wire = Wire(target)
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()
