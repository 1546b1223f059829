"""Errors that people read: one sentence that says what was expected, what came, and what to do."""

from __future__ import annotations


class RobustIQAError(Exception):
    """Base of every error this package raises on purpose.

    `exit_code` is what the command line returns: 2 when the request was wrong, 1 when the work failed.
    """

    exit_code = 2


class InputError(RobustIQAError, ValueError):
    """An argument, a tensor or an option has the wrong shape, range, type or state."""


class UnknownNameError(RobustIQAError, LookupError):
    """A name that no registry holds."""


class ImageFileError(RobustIQAError):
    """A file that should hold a photograph does not, or holds one that is refused."""


class WeightsError(RobustIQAError):
    """A weights file is missing, unreadable or made for another model."""


class DataError(RobustIQAError):
    """A dataset folder, label file or split does not have the documented layout."""


class SpecError(RobustIQAError):
    """A recipe or run folder contradicts itself or the request."""


class MissingExtraError(RobustIQAError):
    """An optional dependency is needed and not installed."""


class WorkFailedError(RobustIQAError):
    """The request was sound and the work did not succeed, a demo claim that does not hold among them."""

    exit_code = 1
