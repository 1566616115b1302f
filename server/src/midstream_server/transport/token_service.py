"""TokenService over gRPC: converts, calls the operation, converts."""

from typing import Any

from midstream.v1 import token_service_pb2 as pb
from midstream_server.operations import Core
from midstream_server.operations.tokens import mint_token, revoke_token
from midstream_server.transport.caller import current_caller
from midstream_server.transport.convert import from_timestamp
from midstream_server.transport.tokens import access_token, token_spec

Context = Any


class TokenServicer:
    """One method for each RPC of midstream.v1.TokenService; see there."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def MintToken(self, request: pb.MintTokenRequest, context: Context) -> pb.MintTokenResponse:
        caller = current_caller.get()
        caller.check_backend()
        minted = mint_token(self._core, caller, token_spec(request.spec, "spec"))
        return pb.MintTokenResponse(access_token=access_token(minted))

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        expires_us = from_timestamp(request.expire_time) if request.HasField("expire_time") else None
        await revoke_token(self._core, current_caller.get(), request.token_id, expires_us=expires_us)
        return pb.RevokeTokenResponse()
