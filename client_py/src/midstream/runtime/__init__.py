"""Executes tasks: a deterministic engine that rebuilds a run from its log. Pure: no network, no clock, no threads."""
