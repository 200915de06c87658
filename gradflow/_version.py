"""The version, alone, so that nothing heavy is imported to know it."""

__version__ = "0.2.0"
