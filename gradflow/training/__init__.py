"""The training loop, its optimisers and devices."""
