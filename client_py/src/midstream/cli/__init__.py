"""The command line `midstream`: look at runs, and send records into them."""

from midstream.cli.app import main

__all__ = ["main"]
