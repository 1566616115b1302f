"""Other products that do what a figure measures, on the same machine in the same run. `make bench-peers` installs them.

They are no dependency of anything: they have an environment of their own in this folder, and one that is not there is
only missed by who asks for it.
"""
