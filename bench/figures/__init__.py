"""The figures, one a module: each measures itself and its limit in turn."""
