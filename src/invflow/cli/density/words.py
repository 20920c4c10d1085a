"""What errors and warnings call settings, in words of the command line."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

WORDS = {
    "missing='marginalise'": "--missing marginalise",
    "kinds: ": "",
    "say so in kinds": "say so with --continuous",
    "kinds names": "--integer, --continuous, --categorical or --bounded names",
    "conditional_on": "--conditional-on",
    "test_fraction": "--test-fraction",
    "hidden_features": "--hidden",
    "transforms: ": "--transforms: ",
}
#: What is in quotes is the user's own.
_WORD = re.compile("|".join(rf"(?<!['\w]){re.escape(word)}" for word in WORDS))


def words(text: str) -> str:
    """Return what is said of settings as one of options.

    Example:
        >>> words("conditional_on names the column 'conditional_on'")
        "--conditional-on names the column 'conditional_on'"
    """
    return _WORD.sub(lambda found: WORDS[found[0]], text)


@contextmanager
def spoken() -> Generator[None]:
    """Name options in errors of arguments, not settings."""
    try:
        yield
    except (TypeError, ValueError) as error:
        said = words(str(error))
        if said == str(error):
            raise
        raise ValueError(said) from error
