"""Refusals that have to do with credentials. None of them repeats a secret."""

from midstream_server.domain.errors import Reason, Refused


def credentials_missing() -> Refused:
    return Refused(
        Reason.CREDENTIALS_MISSING,
        "this server asks for credentials: send `authorization: Bearer ` and an API key or an access token",
    )


def credentials_invalid(problem: str) -> Refused:
    return Refused(Reason.CREDENTIALS_INVALID, problem)


def token_expired(expire_time: str) -> Refused:
    """`expire_time` as in RFC 3339."""
    return Refused(
        Reason.TOKEN_EXPIRED, f"the access token expired at {expire_time}; get a new one", {"expire_time": expire_time}
    )


def token_revoked(token_id: str) -> Refused:
    return Refused(
        Reason.TOKEN_REVOKED,
        f"the access token {token_id!r} was revoked, or its run ended more than an hour ago; get a new one",
        {"token_id": token_id},
    )


def token_used_up(token_id: str, max_uses: int) -> Refused:
    return Refused(
        Reason.TOKEN_USED_UP,
        f"{max_uses} records were sent with the access token {token_id!r}, as many as it allows; get a new one",
        {"token_id": token_id, "max_uses": str(max_uses)},
    )


def scope_missing(scope: str) -> Refused:
    return Refused(
        Reason.SCOPE_MISSING, f"the access token does not allow {scope!r}; ask for one that does", {"scope": scope}
    )


def api_key_needed() -> Refused:
    return Refused(
        Reason.SCOPE_MISSING, "no access token allows this; call it with an API key, from a backend", {"scope": ""}
    )


def rate_limited(records_per_second: float, *, retry_after_us: int) -> Refused:
    shown = f"{records_per_second:g}"
    return Refused(
        Reason.RATE_LIMITED,
        f"more than {shown} calls and records a second with one access token; slow down",
        {"records_per_second": shown},
        retry_after_us=retry_after_us,
    )


def too_many_subscriptions(limit: int) -> Refused:
    return Refused(
        Reason.TOO_MANY_SUBSCRIPTIONS,
        f"{limit} subscriptions are open with this access token, as many as one may have; end one first",
        {"max_subscriptions": str(limit)},
    )
