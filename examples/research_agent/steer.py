"""Steers a research agent from another process, a line at a time: `python steer.py RUN_ID`.

Lines that it understands:

    instruction focus on cost          changes what is searched from now on
    follow-up What about fire safety?  adds a chapter
    wrap-up That is enough             ends the research
    approve | reject                   the verdict on the draft
    stop I changed my mind             ends at once, without a report
"""

import sys

import midstream
from midstream import Receipt
from streams import Approval, Cancel, UserMessage, approval, cancel, user_message


def steer(run_id: str, kind: str, text: str) -> Receipt:
    """Sends one line to the run and returns once it is stored."""
    match kind:
        case "instruction" | "follow-up" | "wrap-up":
            return midstream.send(run_id, user_message, UserMessage(kind=kind, text=text))
        case "approve" | "reject":
            return midstream.send(run_id, approval, Approval(approved=kind == "approve"))
        case "stop":
            return midstream.send(run_id, cancel, Cancel(reason=text))
        case _:
            raise ValueError(f"{kind!r} is none of: instruction, follow-up, wrap-up, approve, reject, stop")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for line in sys.stdin:
        kind, _, text = line.strip().partition(" ")
        try:
            receipt = steer(sys.argv[1], kind, text)
        except (ValueError, midstream.MidstreamError) as error:
            print(f"not sent: {error}", flush=True)
        else:
            print(f"stored {kind!r} as seq {receipt.seq}", flush=True)


if __name__ == "__main__":
    main()
