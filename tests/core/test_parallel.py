from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from robustiqa.core.errors import InputError
from robustiqa.core.parallel import SHARDED, bare, refuse_sharded
from robustiqa.defenses.norm_regularization import (
    CentralDifference,
    DoubleBackward,
    FiniteDifference,
    NormRegularization,
)
from tests.toys import ConvModel


def test_a_model_of_one_process_is_bare() -> None:
    model = nn.Sequential(ConvModel())
    assert bare(model) is model


def test_a_model_whose_weights_are_spread_over_processes_is_refused() -> None:
    from torch.distributed.fsdp import FSDPModule

    model = nn.Sequential(ConvModel())
    refuse_sharded(model)
    model[0].__class__ = type("FSDPConvModel", (FSDPModule, ConvModel), {})
    with pytest.raises(InputError, match=f"^{re.escape(SHARDED)}$"):
        NormRegularization(weight=1e-3)(model, torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    "penalty", [NormRegularization(DoubleBackward()), NormRegularization(FiniteDifference(), statistics="clean")]
)
def test_batch_norm_over_processes_is_refused_where_it_cannot_be_differentiated(penalty: NormRegularization) -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(ConvModel().train())  # type: ignore[no-untyped-call]
    message = "SyncBatchNorm in training mode can't be differentiated twice or lend its statistics; "
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        penalty(model, torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    "penalty",
    [
        NormRegularization(DoubleBackward()),
        NormRegularization(FiniteDifference()),
        NormRegularization(CentralDifference()),
    ],
)
def test_batch_norm_over_processes_runs_as_at_test_like_any_other(penalty: NormRegularization) -> None:
    plain, images = ConvModel().eval(), torch.rand(2, 3, 8, 8)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(ConvModel().eval())  # type: ignore[no-untyped-call]
    torch.testing.assert_close(penalty(synced, images), penalty(plain, images))
