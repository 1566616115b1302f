"""`python -m midstream.cli`."""

import sys

from midstream.cli import main

sys.exit(main())
