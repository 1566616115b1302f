"""Exit codes of `midstream`."""

ERROR = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE
