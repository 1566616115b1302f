"""The shared file of schemas, values and verdicts, `tests/conformance/validity.json`, and what it is made from."""
