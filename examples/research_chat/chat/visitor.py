"""Who is asking: a cookie, in place of whatever a real application signs its users in with."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request, Response

COOKIE: Final = "visitor"


@dataclass(frozen=True, slots=True)
class Visitor:
    """`id` may be shown and stored: the cookie cannot be guessed from it."""

    id: str


def recognise(request: Request, response: Response) -> Visitor:
    """The cookie's visitor; a new one, with a cookie, where there is none."""
    secret = request.cookies.get(COOKIE)
    if not secret:
        secret = secrets.token_urlsafe(24)
        response.set_cookie(COOKIE, secret, httponly=True, samesite="lax", max_age=30 * 24 * 3600)
    return Visitor(f"visitor-{hashlib.sha256(secret.encode()).hexdigest()[:12]}")


CurrentVisitor = Annotated[Visitor, Depends(recognise)]
