"""Networks with several heads: what the further ones say of the clean images, for the loss and for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from robustiqa.core.errors import SpecError

Loss = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def further_scores(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the scores (N,) that a network's further heads give in the first forward pass within it.

    A quality model returns one score an image. One with several heads keeps them in a part called `score_heads`, whose
    output (N, heads) has that score first. The first pass is the clean one; those of a penalty come later.
    """
    found: list[Tensor] = []

    def keep(part: nn.Module, inputs: tuple[object, ...], scores: Tensor) -> None:
        if not found:
            found.extend(scores.unbind(1)[1:])

    heads = getattr(model, "score_heads", None)
    handle = heads.register_forward_hook(keep) if isinstance(heads, nn.Module) else None
    try:
        yield found
    finally:
        if handle is not None:
            handle.remove()


def loss_of_heads(loss_of: Loss, weights: Sequence[float], heads: Sequence[Tensor], targets: Tensor) -> Tensor:
    """The weighted sum of the losses of all heads' scores, each (N,), in float32; the score's own head is the first.

    Raises:
        SpecError: if there are more heads than weights.
    """
    if len(heads) > len(weights):
        raise SpecError(f"the network has {len(heads)} heads; give head_weights a number for each, got {len(weights)}.")
    losses = [weight * loss_of(scores.float(), targets) for weight, scores in zip(weights, heads, strict=False)]
    return sum(losses[1:], losses[0])
