"""Command lines as each of two processes of torchrun runs them: `run_commands(FOLDER, JSON)` in each."""

from __future__ import annotations

import json
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from robustiqa.cli.app import main


def run_commands(folder: str, commands: str) -> int:
    """Runs a list of command lines, each once both processes are done with the one before.

    Code and output go to FOLDER/PLACE/RANK/. Returns the code of the last one, with which a process may end the other.
    """
    code = 0
    listed = json.loads(commands)
    for place, arguments in enumerate(listed):
        own = Path(folder) / str(place) / os.environ["RANK"]
        own.mkdir(parents=True, exist_ok=True)
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(own / "error.json")
        out, err = (own / "out").open("w"), (own / "err").open("w")
        with out, err, redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
        (own / "code").write_text(str(code))
        while place + 1 < len(listed) and not all((own.parent / rank / "code").is_file() for rank in "01"):
            time.sleep(0.05)
    return code
