"""`python -m mlxconsole`."""

import sys

from mlxconsole.cli import main

sys.exit(main())
