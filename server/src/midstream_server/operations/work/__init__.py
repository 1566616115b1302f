"""Lends runs to workers."""
