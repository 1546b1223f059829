"""Prints its argument as JSON, for a test of processes that are asked."""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    print("before")  # noqa: T201
    print(json.dumps({"asked": sys.argv[1]}))  # noqa: T201
