"""Errors of the server in the words of the command line: what happened, and what to do."""

import shlex
from dataclasses import dataclass

from midstream import MidstreamError, Unavailable
from midstream.backoff import is_transient
from midstream.cli.options import Options


@dataclass(frozen=True)
class Explanation:
    """One clear sentence, and how to put it right where that is known."""

    reason: str
    what: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """The shape under `error` on stderr with --json."""
        return {"reason": self.reason, "message": self.what, "fix": self.fix}


def explain(error: MidstreamError, options: Options) -> Explanation:
    """Words for an error of the client or the server."""
    if isinstance(error, Unavailable) and error.reason not in ("STORE_UNAVAILABLE", "SERVER_DRAINING"):
        if error.code == "UNAVAILABLE" and not is_transient(error):
            return Explanation(
                "UNAVAILABLE",
                f"{options.url} does not come to terms over TLS: {error.message.rstrip('.')}.",
                "Check --ca-file, --cert-file and --key-file, and whether the server has TLS: grpcs:// or grpc://.",
            )
        return Explanation(
            "UNAVAILABLE",
            f"no Midstream server answers at {options.url}.",
            "Start one with: midstream-server\nOr name another with --url or MIDSTREAM_URL." + _perhaps_tls(error),
        )
    run_id = error.metadata.get("run_id", "")
    match error.reason:
        case "RUN_NOT_FOUND":
            return Explanation(
                error.reason, f"there is no run {run_id!r} at {options.url}.", "See them all with: midstream runs list"
            )
        case "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "TOKEN_EXPIRED" | "TOKEN_REVOKED":
            return Explanation(
                error.reason,
                f"{error.message.rstrip('.')}.",
                "Set MIDSTREAM_API_KEY, or MIDSTREAM_ACCESS_TOKEN, to one that is good at this server.",
            )
        case "RUN_FINISHED":
            state = error.metadata.get("state", "ended")
            return Explanation(
                error.reason,
                f"run {run_id} is {state} and takes no more records.",
                f"See how it ended with: midstream runs show {shlex.quote(run_id)}",
            )
        case "IDEMPOTENCY_KEY_REUSED":
            key, seq = error.metadata.get("idempotency_key", ""), error.metadata.get("seq", "?")
            return Explanation(
                error.reason,
                f"the key {key!r} stands for other data already (seq {seq}); nothing was stored.",
                "Choose another --key, or none.",
            )
        case "STREAM_FULL":
            return Explanation(
                error.reason,
                f"the stream {error.metadata.get('stream_id', '')!r} is full: the run has not read its records yet.",
                "Send again once the run has read some.",
            )
        case "PAYLOAD_TOO_LARGE":
            size, limit = error.metadata.get("payload_bytes", "?"), error.metadata.get("max_payload_bytes", "?")
            return Explanation(
                error.reason,
                f"the data is {size} bytes long; the server takes {limit}.",
                "Store it elsewhere and send where it is.",
            )
        case "SCHEMA_INCOMPATIBLE":
            return Explanation(
                error.reason,
                f"{error.message.rstrip('.')}.{_fields(error)}",
                "Keep what is there and add to it, declare another stream, or register it nonetheless with --force.",
            )
        case "STREAM_UNDECLARED":
            return Explanation(
                error.reason,
                f"{error.message.rstrip('.')}.",
                "See which streams there are with: midstream schema list",
            )
        case _ if error.fields:
            return Explanation(error.reason, f"{error.message.rstrip('.')}.{_fields(error)}")
        case _:
            return Explanation(error.reason, f"{error.message.rstrip('.')}.")


def _fields(error: MidstreamError) -> str:
    return "".join(f"\n  {field or 'the whole of it'}: {problem}" for field, problem in error.fields.items())


def _perhaps_tls(error: MidstreamError) -> str:
    if "Socket closed" not in error.message:
        return ""
    return "\nSomething does listen there: perhaps it wants TLS (grpcs://), or a certificate (--cert-file, --key-file)."
