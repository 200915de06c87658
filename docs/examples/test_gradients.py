"""Gradient flow as a test: `python -m pytest test_gradients.py`."""

import os

import gradflow
import networks
import torch


def test_gradients_flow():
    """The network as it is initialised, on random data."""
    torch.manual_seed(0)
    model = getattr(networks, os.environ.get("MODEL", "healthy"))()
    inputs, labels = torch.randn(64, 64), torch.randint(10, (64,))
    gradflow.diagnose(model, inputs, labels).assert_healthy()
