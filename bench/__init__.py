"""Midstream's speed, each figure side by side with the limit of what it stands on. Run `python -m bench`."""
