"""The options of a stand-in: those of the data set that has the original's sizes."""

import argparse
from dataclasses import fields

from dsgen.size import parse_size
from dsgen.stand_ins import STAND_INS
from harness.errors import ConfigError


def choose_stand_in(options: argparse.Namespace) -> str:
    """Set what is wanted of the data set in `options`, and return the sentence that tells of it.

    Raises:
        ConfigError: another law, format or content was asked for.
        UsageError: the size is none.
    """
    stand_in = STAND_INS[options.workload]
    wanted = stand_in.filled(holes=options.holes)
    for field in fields(wanted):
        value, given = getattr(wanted, field.name), getattr(options, field.name)
        if given is not None and given != str(value):
            what = f"a stand-in of the original has its own {field.name.replace('_', ' ')}"
            where, then = f"--{field.name.replace('_', '-')} {given}", "leave it out, or `generate`"
            raise ConfigError(what, where=where, then=then)
        if value:
            setattr(options, field.name, value)
    if options.size is None:
        options.size = str(stand_in.bytes)
    return stand_in.sentence(parse_size(options.size))
