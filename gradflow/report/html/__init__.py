"""A result as one HTML file that loads nothing: for a colleague, a wiki, an e-mail."""

from gradflow.report.html.page import frame, page, write

__all__ = ["frame", "page", "write"]
