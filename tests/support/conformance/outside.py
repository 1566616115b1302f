"""What somebody else does to a run while it plays its script, through the client."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import midstream
from midstream import Client, MidstreamError, OutputEvent, Record, Scope, can_cancel, can_read, can_send
from support.conformance.match import differences
from support.conformance.outcome import outcome_differences, seen_of
from support.conformance.script import NOTHING, error_name
from support.conformance.servers import PlayedServer

Json = dict[str, Any]


class Outside:
    def __init__(self, client: Client, server: PlayedServer, run_id: str) -> None:
        self.differences: list[str] = []
        self._client = client
        self._server = server
        self._run_id = run_id
        self._tokens: dict[str, midstream.AccessToken] = {}

    async def play(self, operations: Sequence[Json]) -> None:
        async with AsyncExitStack() as pages:
            clients = {"": self._client}
            for index, operation in enumerate(operations):
                holder = operation.get("as", "")
                if holder not in clients:
                    page = midstream.connect(self._server.process.url, access_token=self._tokens[holder].token)
                    clients[holder] = await pages.enter_async_context(page)
                outcome = await self._outcome(operation, clients[holder])
                self.differences += outcome_differences(operation, outcome, f"outside[{index}]")

    async def _outcome(self, operation: Json, client: Client) -> Json:
        try:
            return {"gives": await self._do(operation, client)}
        except MidstreamError as error:
            return {"fails": error_name(error)}

    async def _do(self, operation: Json, client: Client) -> Any:
        run_id = operation.get("to", self._run_id)
        match operation:
            case {"send": name, "value": value}:
                receipt = await client.send(run_id, name, value, key=operation.get("key"))
                return {"seq": receipt.seq, "deduplicated": receipt.deduplicated}
            case {"send_many": name, "values": values}:
                results = await client.send_many(run_id, name, values)
                return [r.receipt.seq if r.receipt is not None else error_name(_error(r)) for r in results]
            case {"until": expected}:
                await self._until(expected)
            case {"cancel_run": _}:
                await client.cancel_run(run_id)
            case {"peek": name}:
                record = await client.peek(run_id, name)
                return NOTHING if record is None else record.value
            case {"list": name}:
                return [record.value async for record in client.list_records(run_id, name)]
            case {"senders": name}:
                return [record.sender.subject async for record in client.list_records(run_id, name)]
            case {"tail": name, "gives": expected}:
                return await _first(client.tail(run_id, name), len(expected))
            case {"read_output": name, "gives": expected}:
                return await _first(client.tail_output(run_id, name), len(expected))
            case {"mint": scopes, "as_token": name}:
                given = {key: operation[key] for key in ("subject", "max_uses") if key in operation}
                self._tokens[name] = await client.mint_token([self._scope(scope) for scope in scopes], **given)
            case {"revoke": name}:
                await client.revoke_token(self._tokens[name])
            case {"server": command}:
                await asyncio.to_thread(self._server.do, command)
            case _:
                raise KeyError(f"no operation: {operation}")
        return None

    async def _until(self, expected: Json) -> None:
        async with aclosing(self._client.watch_run(self._run_id)) as states:
            async for run in states:
                if not differences(expected, seen_of(run), "run"):
                    return
        self.differences.append(f"the run ended without having been {expected}")

    def _scope(self, scope: Json) -> Scope:
        match scope:
            case {"send": name}:
                return can_send(self._run_id, name)
            case {"read": _}:
                return can_read(self._run_id)
            case {"cancel": _}:
                return can_cancel(self._run_id)
        raise KeyError(f"no scope: {scope}")


def _error(result: midstream.SendResult) -> MidstreamError:
    assert result.error is not None
    return result.error


async def _first(records: AsyncGenerator[OutputEvent, None] | AsyncGenerator[Record, None], count: int) -> list[Any]:
    """The values of the first so many records."""
    values: list[Any] = []
    async with aclosing(records) as each:
        async for record in each:
            if isinstance(record, Record):
                values.append(record.value)
            if len(values) == count:
                break
    return values
