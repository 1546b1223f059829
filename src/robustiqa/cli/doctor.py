"""`robustiqa doctor`: whether this machine has what the package needs, told by trying it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from robustiqa.cli import options
from robustiqa.cli.output import Output, Tell
from robustiqa.core.errors import RobustIQAError

EXTRAS = ("kornia", "tensorboard", "pyiqa")
LIGHT_BACKBONE = "mobilenetv2_035"
TUNABLES = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"


@dataclass(frozen=True)
class Finding:
    """What one look found.

    Attributes:
        name: What was looked at.
        state: `ok`, `hint` (works, could be better) or `failed`.
        detail: In words.
    """

    name: str
    state: Literal["ok", "hint", "failed"]
    detail: str


def doctor(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are going to be written.")] = Path(),
    device: options.Device = "auto",
    seed: options.Seed = 0,
    evaluation: Annotated[
        bool,
        typer.Option("--evaluation", help="Plant hollow defenses instead, and see each called by its name; seconds."),
    ] = False,
    json: options.Json = False,
) -> int:
    """Check this machine by trying it, or the evaluation by deceiving it.

    Versions, device, threads, memory allocator, write access, shipped weights, and a tiny attack; with
    --evaluation, toy models with planted defects, which the diagnostics must name, and honest ones, on which they
    must be silent. Exits with 1 if something does not work.

    Example: robustiqa doctor --device cuda
    """
    output = Output("doctor", json)
    looks: dict[str, Callable[[], Finding]] = {
        "versions": _versions,
        "extras": _extras,
        "device": lambda: _device(device),
        "threads": _threads,
        "memory allocator": _allocator,
        "write access": lambda: _write_access(out),
        "shipped weights": _shipped_weights,
        "self-test": lambda: _self_test(device, seed),
    }
    findings: list[Finding] = []
    with output.progress("looking") as tell:
        if evaluation:
            findings += _planted(seed, tell)
            looks = {}
        for place, (name, look) in enumerate(looks.items()):
            tell(place, len(looks), name)
            findings.append(_guarded(name, look))
    output.table(["", "state", "finding"], [[f.name, f.state, f.detail] for f in findings], words=3)
    output.document(findings=[asdict(finding) for finding in findings])
    return 1 if any(finding.state == "failed" for finding in findings) else 0


def _planted(seed: int, tell: Tell) -> list[Finding]:
    """The self-test of the evaluation, a finding a model."""
    from robustiqa.evaluation.planted import LINEAR_MODELS, PLANTED, self_test

    findings: list[Finding] = []
    for trial in self_test(seed):
        tell(len(findings), len(PLANTED) + 1 + LINEAR_MODELS, trial.name)
        raised = ", ".join(trial.raised) or "nothing"
        wanted = f"must raise {trial.expected}" if trial.expected else "must raise nothing"
        findings.append(Finding(trial.name, "ok" if trial.passed else "failed", f"{wanted}; raised {raised}"))
    return findings


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    """A look; what it raises is what it found."""
    try:
        return look()
    except (RobustIQAError, ImportError, OSError, RuntimeError) as error:
        return Finding(name, "failed", str(error))


def _versions() -> Finding:
    from robustiqa.core.run_folder import REPORTED_PACKAGES, environment

    found = environment()
    missing = [name for name in REPORTED_PACKAGES if name not in found]
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    if missing and missing != ["robustiqa"]:
        return Finding("versions", "failed", f"{', '.join(missing)} not installed; found {listed}")
    if missing:
        return Finding("versions", "hint", f"{listed}; robustiqa runs from its sources and is not installed")
    return Finding("versions", "ok", listed)


def _extras() -> Finding:
    from importlib.util import find_spec

    there = [name for name in EXTRAS if find_spec(name) is not None]
    absent = [name for name in EXTRAS if name not in there]
    how = f"; absent: {', '.join(absent)} (pip install 'robustiqa[{','.join(absent)}]')" if absent else ""
    return Finding("extras", "ok", f"installed: {', '.join(there) or 'none'}{how}")


def _device(name: str) -> Finding:
    import torch

    from robustiqa.cli.devices import find_device

    device = find_device(name)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Finding("device", "ok", f"{device}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    gpu = "; a CUDA GPU is there, too" if torch.cuda.is_available() else "; no CUDA GPU"
    return Finding("device", "ok", f"{device}{gpu}")


def _threads() -> Finding:
    import torch

    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"torch computes with {threads} threads on {cores} cores"
    if threads > cores:
        return Finding("threads", "hint", f"{detail}; set OMP_NUM_THREADS={cores}")
    return Finding("threads", "ok", detail)


def _allocator() -> Finding:
    """On a CPU under glibc, every large tensor is fresh memory from the system unless tunables keep it."""
    if platform.libc_ver()[0] != "glibc":
        return Finding("memory allocator", "ok", f"not glibc's ({platform.system()})")
    if "jemalloc" in os.environ.get("LD_PRELOAD", "") or "tcmalloc" in os.environ.get("LD_PRELOAD", ""):
        return Finding("memory allocator", "ok", "preloaded by LD_PRELOAD")
    if "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "") or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return Finding("memory allocator", "ok", "glibc's, and keeps large blocks")
    hint = f"glibc's gives large tensors back after use; training on a CPU may gain from GLIBC_TUNABLES={TUNABLES}"
    return Finding("memory allocator", "hint", hint)


def _write_access(folder: Path) -> Finding:
    import tempfile

    existing = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    with tempfile.TemporaryFile(dir=existing):
        return Finding("write access", "ok", f"{existing} can be written to")


def _shipped_weights() -> Finding:
    from robustiqa.cli.weights import DEMO_WEIGHTS
    from robustiqa.models.files import shipped_weights
    from robustiqa.models.loading import load_model
    from robustiqa.models.weights import file_hash

    shipped = shipped_weights()
    missing = [name for name in DEMO_WEIGHTS if name not in shipped]
    if missing:
        return Finding("shipped weights", "hint", f"{', '.join(missing)} missing: `score` and `attack` need --weights")
    for path in shipped.values():
        load_model(path)
    listed = ", ".join(f"{name} {file_hash(path)}" for name, path in shipped.items())
    return Finding("shipped weights", "ok", f"load; SHA-256 {listed}")


def _self_test(device_name: str, seed: int) -> Finding:
    """Scores noise with a random light model, attacks it, writes it, and reads it back."""
    import tempfile

    import torch

    from robustiqa.attacks import create_attack
    from robustiqa.cli.devices import find_device
    from robustiqa.core.image_files import read_image, write_png
    from robustiqa.core.seeds import generator
    from robustiqa.models import create_model

    device = find_device(device_name)
    model = create_model("hyperiqa", backbone=LIGHT_BACKBONE).to(device)
    side = model.crop_size or 1
    image = torch.randint(256, (1, 3, side, side), generator=generator(seed, "doctor")).float().to(device) / 255
    result = create_attack("fgsm", eps="4/255", objective="raise")(model, image)
    if not torch.isfinite(result.scores_8bit).all() or result.linf.item() > 4 / 255 + 1e-6:
        raise RuntimeError("an attack on a random model gave no finite score, or left its budget")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        write_png(result.images_8bit[0], path)
        if not torch.equal(read_image(path), result.images_8bit[0].cpu()):
            raise RuntimeError("an image file did not hold the pixels that were written")
    change = (result.scores_8bit - result.clean_scores).item()
    return Finding("self-test", "ok", f"FGSM at 4/255 raised a random model's score by {change:.3f}; its PNG holds it")
