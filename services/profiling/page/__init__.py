"""A profile as one HTML file that loads nothing."""

from jetvla.services.profiling.page.document import page_of

__all__ = ["page_of"]
