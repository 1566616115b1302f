"""A timeline on the terminal."""

from collections.abc import Sequence
from typing import Final

from midstream.cli import output, text
from midstream.cli.happening import Happening

_NEWEST: Final = 100


def print_timeline(happenings: Sequence[Happening], *, whole: bool) -> None:
    """Prints each line with its offset, its local time, and the time since the run was created.

    Of a long one the newest lines, unless the `whole` is asked for.
    """
    if not happenings:
        return
    output.line()
    output.line(output.bold("Timeline"))
    begin = happenings[0].time
    left_out = 0 if whole else max(len(happenings) - _NEWEST, 0)
    if left_out:
        output.line(output.dim(f"({text.count(left_out, 'earlier line')}: see them with --log)"))
    day = ""
    for happening in happenings[left_out:]:
        moment = happening.time.astimezone()
        if day != (day := moment.strftime("%Y-%m-%d")):
            output.line(output.dim(day))
        offset = "" if happening.offset is None else str(happening.offset)
        begins = f"{offset:>5}  {moment:%H:%M:%S}.{moment.microsecond // 1_000:03}"
        since = f"{'+' + text.span(happening.time - begin):>12}"
        parts = [part for part in (happening.what, output.dim(happening.remark)) if part]
        output.line(
            output.dim(f"{begins}  {since}  "),
            output.styled(f"{happening.word:<10}" if parts else happening.word, happening.style),
            *(piece for part in parts for piece in ("  ", part)),
        )
