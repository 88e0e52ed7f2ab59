"""`python -m jrnn`: the command line, where `jrnn` itself is not on the PATH."""

import sys

from jrnn.cli import main

sys.exit(main())
