"""Activations and other settings compared by training one network with each, over seeds.

Importing this package imports neither torch nor numpy; `runs.run` does.

config → grid (settings) → worker (one training run) → rundir (what is kept) → summary (rows).
"""
