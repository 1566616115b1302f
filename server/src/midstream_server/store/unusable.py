"""Why a store cannot be opened."""


class DatabaseUnusable(Exception):
    """The database cannot be opened; the text says why and what to do."""
