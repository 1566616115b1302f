"""The research chat: an agent that is steered from a page while it works."""
