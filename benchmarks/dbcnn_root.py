"""Measures what the constant under DBCNN's square root does to scores, their gradients and the penalty of NT.

    python benchmarks/dbcnn_root.py --backbone-weights FILE --scnn-weights FILE

Light DBCNN at test, its last layer as a new network has it (seeded), on the five photographs of the builtin dataset.
Without files the trunks are random, too. Prints Markdown; docs/dbcnn.md has what it printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from robustiqa.datasets.builtin import PHOTOGRAPHS, load_builtin
from robustiqa.defenses.norm_regularization import DoubleBackward, FiniteDifference, NormEstimator
from robustiqa.models.backbones import load_backbone_weights
from robustiqa.models.dbcnn import DBCNN, bilinear_pool, load_scnn_weights, signed_root

OFFSETS = (1e-8, 1e-6, 1e-4)
BACKBONE = "mobilenetv2_100"
SIDE = 224
LEVELS = (0, 4)  # of distortion: the pictures that the spread of scores is taken over


@dataclass(frozen=True)
class Measured:
    """One network on one set of photographs; gradients are in normalized input, scores in points.

    Attributes:
        small: Part of the pairs of features whose size is at most the constant.
        spread: Standard deviation of the scores over photographs and their distorted versions.
        norm: Mean L1 norm of the input gradient, exact.
        seen: Mean of the finite difference over the exact norm.
        pull: Length of the exact penalty's gradient with respect to the weights, at weight 1.
        estimated_pull: The same of the finite difference's penalty.
        agreement: Cosine of the two.
    """

    small: float
    spread: float
    norm: float
    seen: float
    pull: float
    estimated_pull: float
    agreement: float


def build(offset: float, seed: int, backbone_weights: str, scnn_weights: str) -> DBCNN:
    """The light network; equal seeds have equal weights whatever the constant."""
    torch.manual_seed(seed)
    model = DBCNN(backbone=BACKBONE, root_offset=offset)
    if backbone_weights:
        load_backbone_weights(model, backbone_weights)
    if scnn_weights:
        load_scnn_weights(model, scnn_weights)
    return model.eval()


def pairs_of(model: DBCNN, pictures: Iterable[Tensor]) -> Tensor:
    """What the root is taken of, (N, C * 128); the constant plays no part in it."""
    found = []
    with torch.no_grad():
        for picture in pictures:
            normalized = ((picture - model.input_mean[:, None, None]) / model.input_std[:, None, None])[None]
            (content,) = model.backbone(normalized)
            found.append(bilinear_pool(content, model.scnn(normalized)).flatten(1))
    return torch.cat(found)


def norms_and_pull(model: DBCNN, pictures: Sequence[Tensor], estimator: NormEstimator) -> tuple[Tensor, Tensor]:
    """Norms (N,) and the gradient of their mean square with respect to all weights, flat."""
    model.zero_grad()
    norms = []
    for picture in pictures:
        _, norm = estimator(model, picture[None], 1.0)
        torch.autograd.backward(norm.square().mean() / len(pictures))
        norms.append(norm.detach())
    # the last layer's bias moves no input gradient: exactly, nothing reaches it
    pull = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in model.parameters()]
    return torch.cat(norms), torch.cat([gradient.flatten() for gradient in pull])


def measure(model: DBCNN, pictures: Sequence[Tensor], pairs: Tensor) -> Measured:
    """Everything about one network; see `Measured`."""
    with torch.no_grad():
        scores = model.fc(F.normalize(signed_root(pairs, model.root_offset)))[:, 0]
    exact, pull = norms_and_pull(model, pictures, DoubleBackward())
    estimate, estimated_pull = norms_and_pull(model, pictures, FiniteDifference(h=0.01))
    return Measured(
        small=(pairs.abs() <= model.root_offset).float().mean().item(),
        spread=scores.std().item(),
        norm=exact.mean().item(),
        seen=(estimate / exact).mean().item(),
        pull=pull.norm().item(),
        estimated_pull=estimated_pull.norm().item(),
        agreement=F.cosine_similarity(pull, estimated_pull, dim=0).item(),
    )


def main() -> None:
    """Measures every constant and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone-weights", default="", help=f"file of {BACKBONE}, ImageNet")
    parser.add_argument("--scnn-weights", default="", help="file of the published S-CNN")
    parser.add_argument("--seed", default=0, type=int, help="of the last layer")
    options = parser.parse_args()
    for path in filter(None, (options.backbone_weights, options.scnn_weights)):
        if not Path(path).is_file():
            parser.error(f"there is no file {path}.")
    versions = [photo for photo in load_builtin(scenes=1, size=SIDE).photos if photo.group in PHOTOGRAPHS]
    pristine = [photo.read() for photo in versions if photo.key.endswith("pristine-0")]
    spoiled = [photo.read() for photo in versions if int(photo.key.rpartition("-")[2]) in LEVELS]
    pairs: Tensor | None = None
    print("| constant | pairs within it | spread | norm | norm / spread | finite difference / exact | ", end="")
    print("penalty's gradient: exact | estimated | cosine |")
    print("|---|" + 8 * "---:|")
    for offset in OFFSETS:
        model = build(offset, options.seed, options.backbone_weights, options.scnn_weights)
        pairs = pairs_of(model, spoiled) if pairs is None else pairs
        found = measure(model, pristine, pairs)
        print(
            f"| {offset:g} | {found.small:.1%} | {found.spread:.4g} | {found.norm:.4g} | "
            f"{found.norm / found.spread:.4g} | {found.seen:.2f} | {found.pull:.3g} | {found.estimated_pull:.3g} | "
            f"{found.agreement:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
