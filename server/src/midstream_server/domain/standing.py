"""What the server keeps in mind of one credential, for all the calls that are made with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from midstream_server.domain.bucket import Bucket
from midstream_server.domain.credential_errors import rate_limited, too_many_subscriptions
from midstream_server.domain.errors import Refused

Ended = Callable[[Refused], None]


class Standing:
    """Whether a credential is still good, who is to hear when it is not, and how much is being done with it.

    `bucket` and `max_subscriptions` bound an access token; None: nothing is bounded.
    """

    __slots__ = ("_bucket", "_max_subscriptions", "_watchers", "refusal", "subscriptions")

    def __init__(self, *, bucket: Bucket | None = None, max_subscriptions: int | None = None) -> None:
        self._bucket = bucket
        self._max_subscriptions = max_subscriptions
        self._watchers: set[Ended] = set()
        self.refusal: Refused | None = None
        """Why the credential is no good any more."""
        self.subscriptions = 0

    @property
    def in_use(self) -> bool:
        return bool(self._watchers)

    def end(self, refusal: Refused) -> None:
        """The credential is no good from now on: whoever watches is told."""
        if self.refusal is None:
            self.refusal = refusal
            for ended in tuple(self._watchers):
                ended(refusal)

    def check(self) -> None:
        """Raises the Refused with which the credential came to its end, if it did."""
        if self.refusal is not None:
            raise replace(self.refusal)  # An exception that is raised again and again would gather tracebacks.

    def watch(self, ended: Ended) -> None:
        """`ended` is called with the reason once the credential is no good any more. Raises that if it is not now."""
        self.check()
        self._watchers.add(ended)

    def unwatch(self, ended: Ended) -> None:
        self._watchers.discard(ended)

    def take(self, amount: int, *, now_us: int) -> None:
        """Counts `amount` calls or records. Raises Refused: RATE_LIMITED."""
        if self._bucket is not None and (wait_us := self._bucket.take(amount, now_us=now_us)):
            raise rate_limited(self._bucket.per_second, retry_after_us=wait_us)

    def owe(self, amount: int) -> None:
        """Counts `amount` of work that was done already: the next call may have to wait for it."""
        if self._bucket is not None:
            self._bucket.owe(amount)

    @contextmanager
    def subscribed(self) -> Iterator[None]:
        """A subscription is open for as long as the block lasts. Raises Refused: TOO_MANY_SUBSCRIPTIONS."""
        if self._max_subscriptions is not None and self.subscriptions >= self._max_subscriptions:
            raise too_many_subscriptions(self._max_subscriptions)
        self.subscriptions += 1
        try:
            yield
        finally:
            self.subscriptions -= 1


def ended(refusal: Refused) -> Standing:
    """Of a credential that is no good."""
    standing = Standing()
    standing.end(refusal)
    return standing
