"""What a token lets its holder do, and how a refusal looks."""

import pytest

from midstream_server.domain.access_token import TokenGrant
from midstream_server.domain.caller import DEFAULT_NAMESPACE, Caller, SenderKind
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.scope import Action, Scope, read_scope

SEND, READ, CANCEL = Action.SEND, Action.READ, Action.CANCEL


def holder(*scopes: str) -> Caller:
    grant = TokenGrant("t", "ann", tuple(map(read_scope, scopes)), expires_us=1, max_uses=0)
    return Caller(DEFAULT_NAMESPACE, SenderKind.ACCESS_TOKEN, "ann", grant)


PAGE = holder("send:run_x/chat", "read:run_x/chat", "read:run_y", "cancel:run_y", "send:run_z")


@pytest.mark.parametrize(
    ("action", "run_id", "stream_id", "refusal"),
    [
        (SEND, "run_x", "chat", None),
        (SEND, "run_x", "other", "send:run_x/other"),
        (SEND, "run_x", "", "send:run_x"),
        (SEND, "run_x", "chat2", "send:run_x/chat2"),
        (SEND, "run_x", "Chat", "send:run_x/Chat"),
        (READ, "run_x", "chat", None),
        (READ, "run_x", "", "read:run_x"),
        (CANCEL, "run_x", "", "cancel:run_x"),
        (READ, "run_y", "", None),
        (READ, "run_y", "anything", None),
        (CANCEL, "run_y", "", None),
        (SEND, "run_y", "chat", "send:run_y/chat"),
        (SEND, "run_z", "anything", None),
        (READ, "run_z", "anything", "read:run_z/anything"),
        (SEND, "run", "chat", Reason.RUN_NOT_FOUND),
        (READ, "run_x2", "chat", Reason.RUN_NOT_FOUND),
        (READ, "RUN_X", "chat", Reason.RUN_NOT_FOUND),
        (CANCEL, "", "", Reason.RUN_NOT_FOUND),
    ],
)
def test_what_is_allowed(action: Action, run_id: str, stream_id: str, refusal: str | Reason | None) -> None:
    if refusal is None:
        PAGE.check(action, run_id, stream_id)
        return
    with pytest.raises(Refused) as caught:
        PAGE.check(action, run_id, stream_id)
    if isinstance(refusal, Reason):
        assert (caught.value.reason, caught.value.metadata) == (refusal, {"run_id": run_id})
    else:
        assert (caught.value.reason, caught.value.metadata) == (Reason.SCOPE_MISSING, {"scope": refusal})


def test_a_right_to_some_stream_shows_the_run_without_the_others() -> None:
    PAGE.check(READ, "run_x", any_stream=True)
    assert PAGE.readable_streams("run_x") == frozenset({"chat"})
    assert PAGE.readable_streams("run_y") is None
    assert PAGE.readable_streams("run_z") == frozenset()
    with pytest.raises(Refused, match="SCOPE_MISSING"):
        PAGE.check(READ, "run_z", any_stream=True)


@pytest.mark.parametrize(
    ("run_id", "reason"), [("run_x", "SCOPE_MISSING"), ("run_q", "RUN_NOT_FOUND"), ("", "SCOPE_MISSING")]
)
def test_what_only_backends_may(run_id: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        PAGE.check_backend(run_id)


@pytest.mark.parametrize("kind", [SenderKind.ANONYMOUS, SenderKind.API_KEY])
def test_whoever_has_no_token_may_do_everything_in_the_namespace(kind: SenderKind) -> None:
    caller = Caller("acme", kind, "")
    caller.check(SEND, "run_x", "s")
    caller.check_backend("run_x")
    assert caller.readable_streams("run_x") is None


@pytest.mark.parametrize("text", ["send:run_x/user-message", "read:run_x", "cancel:run_x"])
def test_scopes_are_read_as_they_are_written(text: str) -> None:
    assert str(read_scope(text)) == text
    assert read_scope("send:a/b") == Scope(SEND, "a", "b")
