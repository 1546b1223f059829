"""`python -m robustiqa`, also under `torchrun -m robustiqa`."""

from __future__ import annotations

import sys

from robustiqa.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
