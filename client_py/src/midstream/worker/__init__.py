"""Lends this machine to runs: claims them from the server, and executes each in a process of its own."""
