"""Text as PostgreSQL can keep it."""


def storable(text: str) -> str:
    """PostgreSQL knows no NUL in a text. Names and keys have none; what else people write may."""
    return text.replace("\0", "\ufffd")
