"""Activations and other settings compared by training one network with each, over seeds.

Importing this package imports neither torch nor numpy; `run.run` does.

config → grid (settings) → worker (one training run) → storage (what is kept) → rows → checks.
"""
