"""Writes `tests/conformance/validity.json`: `PYTHONPATH=tests python -m support.validity`."""

from support.validity.make import FILE, text

FILE.write_text(text())
