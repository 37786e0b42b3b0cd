"""The base of everything that a result is made of."""

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that stands in result.json under its field names; unknown keys are refused."""
