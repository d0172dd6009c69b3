"""The one exception a user of dtis meets when the input, not the code, is at fault."""

import difflib
import reprlib
from collections.abc import Iterable


class DtisError(Exception):
    """A problem the user can mend: names the file or field, what was found and what to do.

    It is one line, whatever there is in the names and values that it quotes.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else " " for c in message))


class NoLabels(DtisError):
    """Data without the true labels that scores need."""


class InUse(DtisError):
    """A folder or file that another process holds."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the nearest known word, or the list of known words."""
    known = sorted(known)
    nearest = difflib.get_close_matches(word, known, n=1)
    return f", did you mean '{nearest[0]}'?" if nearest else f"; known: {', '.join(known)}"


class _Short(reprlib.Repr):
    """Shows the beginning of what is long, and the outside of what is deep."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 80

    def repr_int(self, value: int, level: int) -> str:
        """Show an integer; Python itself refuses to spell out the largest."""
        return (
            repr(value) if value.bit_length() < 100 else f"an integer of {value.bit_length()} bits"
        )


shown = _Short().repr
"""Returns a value as a message quotes it: short, whatever it is."""
