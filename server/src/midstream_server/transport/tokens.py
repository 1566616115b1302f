"""Between the contract's access tokens and the domain's."""

from midstream.v1 import access_token_pb2 as pb
from midstream_server.domain.access_token import DEFAULT_TTL_US, TokenSpec
from midstream_server.domain.errors import field_invalid
from midstream_server.domain.scope import Action, Scope
from midstream_server.operations.tokens import Minted
from midstream_server.transport.convert import optional_us, timestamp

_ACTIONS: dict[int, Action] = {
    pb.Scope.ACTION_SEND: Action.SEND,
    pb.Scope.ACTION_READ: Action.READ,
    pb.Scope.ACTION_CANCEL: Action.CANCEL,
}


def token_spec(message: pb.AccessTokenSpec, path: str, *, run_id: str = "") -> TokenSpec:
    """A spec that is still to be checked. `run_id` is for scopes that name no run. Raises Refused: FIELD_INVALID."""
    scopes = tuple(
        Scope(_action(scope.action, f"{path}.scopes[{index}].action"), scope.run_id or run_id, scope.stream_id)
        for index, scope in enumerate(message.scopes)
    )
    ttl_us = optional_us(message, "ttl", f"{path}.ttl")
    return TokenSpec(scopes, message.subject, DEFAULT_TTL_US if ttl_us is None else ttl_us, message.max_uses)


def access_token(minted: Minted) -> pb.AccessToken:
    return pb.AccessToken(token=minted.text, token_id=minted.token_id, expire_time=timestamp(minted.expires_us))


def _action(number: int, path: str) -> Action:
    action = _ACTIONS.get(number)
    if action is None:
        raise field_invalid(path, f"is {number}, must be ACTION_SEND, ACTION_READ or ACTION_CANCEL")
    return action
