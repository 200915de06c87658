"""Devices and dtypes by name."""

from __future__ import annotations

import pytest
import torch

from gradflow.errors import GradflowError
from gradflow.training.devices import dtype, select


def pretend(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(0, False, "cpu"), (0, True, "mps"), (2, True, "cuda")]
)
def test_auto_takes_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, best: str
) -> None:
    pretend(monkeypatch, cuda, mps)
    assert select("auto") == torch.device(best)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps", "CPU"])
def test_an_available_device_is_returned_as_asked(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pretend(monkeypatch, cuda=2, mps=True)
    assert select(name) == torch.device(name.lower())


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_unavailable_device_is_refused_with_what_to_use(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pretend(monkeypatch)
    with pytest.raises(GradflowError, match=f"'{name}' is not available") as caught:
        select(name)
    assert caught.value.hint == "use --device cpu or auto"


def test_a_gpu_index_out_of_range_is_refused_with_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, cuda=2)
    with pytest.raises(GradflowError, match=r"cuda:2.*the last one is cuda:1"):
        select("cuda:2")


@pytest.mark.parametrize(
    "name", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "meta", "cudax"]
)
def test_a_malformed_device_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend(monkeypatch, cuda=1, mps=True)
    with pytest.raises(GradflowError, match="unknown device"):
        select(name)


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_dtypes_go_by_their_torch_names(name: str) -> None:
    assert dtype(name) == getattr(torch, name)


def test_an_unknown_dtype_is_refused_with_the_nearest() -> None:
    with pytest.raises(GradflowError) as caught:
        dtype("float33")
    assert "float32" in str(caught.value.hint)
