"""A flip book: prepared frames, turned in the browser by a slider, without asking the kernel.

A frame is a line of text, some large pictures, and rows of cards: small pictures with bars. All is
drawn when the book is made; web/flipbook.js only shows it.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import traitlets

from dtis_core.display.alive import Alive
from dtis_core.display.scripts import FLIP_BOOK, module_of, style
from dtis_core.display.widgets import Picture, captioned, joined, png_bytes
from dtis_core.errors import DtisError

COLUMNS = 32  # pictures in a row of a sheet
STILL = 128  # pixels of a picture's height, where there are no widgets


@dataclass(frozen=True)
class Card:
    """A small picture with a title and, where it has one, a value: as text and as a bar.

    The bar's parts, 0 or more, are stacked; the highest bar of a row fills it. A marked card is the
    one that the row is about.
    """

    title: str
    picture: Picture
    value: str = ""
    bar: tuple[float, ...] = ()
    marked: bool = False


@dataclass(frozen=True)
class Frame:
    """What is seen at once: a short name, for the slider, a text, pictures and rows by title."""

    name: str
    text: str
    pictures: Mapping[str, Picture]
    rows: Mapping[str, Sequence[Card]] = field(default_factory=dict)


class Sheet:
    """Pictures of one size in one PNG, equal ones once."""

    def __init__(self):
        self.numbers: dict[bytes, int] = {}
        self.pictures: list[np.ndarray] = []

    def number(self, picture: np.ndarray) -> int:
        """Return a picture's number. Raises DtisError for one of another size or type."""
        like = self.pictures[0] if self.pictures else picture
        if picture.dtype != np.uint8 or picture.shape != like.shape or like.shape[2:] != (3,):
            raise DtisError(
                "flip book: pictures must be uint8 (h, w, 3) of one size, found "
                f"{picture.dtype} {picture.shape} after {like.dtype} {like.shape}"
            )
        number = self.numbers.setdefault(picture.tobytes(), len(self.pictures))
        if number == len(self.pictures):
            self.pictures.append(picture)
        return number

    def packed(self) -> dict:
        """Return the PNG as a data URL, the pictures' size, and how many lie in a row."""
        h, w = self.pictures[0].shape[:2]
        columns = min(COLUMNS, len(self.pictures))
        missing = np.zeros((-len(self.pictures) % columns, h, w, 3), np.uint8)
        grid = np.concatenate([self.pictures, missing]).reshape(-1, columns, h, w, 3)
        whole = grid.swapaxes(1, 2).reshape(-1, columns * w, 3)  # (rows * h, columns * w, 3)
        data = b64encode(png_bytes(whole, level=9)).decode()
        return {"url": f"data:image/png;base64,{data}", "size": [h, w], "columns": columns}


def packed_book(frames: Sequence[Frame], label: str, orders: Sequence[str] = ()) -> dict:
    """Return a book as JSON can hold it, as web/flipbook.js reads it.

    Raises DtisError for a book without a frame, and for pictures of different sizes.
    """
    if not frames:
        raise DtisError("flip book: there is no frame to show")
    sheet = Sheet()
    packed = [
        {
            "name": frame.name,
            "text": frame.text,
            "pictures": [
                {"title": title, "picture": sheet.number(picture)}
                for title, picture in frame.pictures.items()
            ],
            "rows": [
                {"title": title, "cards": _packed_cards(cards, sheet)}
                for title, cards in frame.rows.items()
            ],
        }
        for frame in frames
    ]
    book = {"label": label, "frames": packed, "orders": list(orders) or None}
    return book | {"sheet": sheet.packed()}


def _packed_cards(cards: Sequence[Card], sheet: Sheet) -> list[dict]:
    highest = max((sum(card.bar) for card in cards), default=0) or 1
    return [
        {
            "title": card.title,
            "picture": sheet.number(card.picture),
            "value": card.value,
            "bar": [round(part / highest, 4) for part in card.bar],
            "marked": card.marked,
        }
        for card in cards
    ]


class FlipBook(Alive):
    """Frames in a notebook, one at a time; alive on a page without a kernel, too.

    Pictures are uint8 (h, w, 3), all of one size. With `orders`, the names of the frames' order and
    of its reverse, the frames can be turned about and chosen from a grid of their first pictures.
    Raises DtisError as `packed_book`.
    """

    _esm = module_of(*FLIP_BOOK, "flipbook_widget.js")
    _css = style("flipbook.css")
    book = traitlets.Dict().tag(sync=True)

    def __init__(self, frames: Sequence[Frame], label: str, orders: Sequence[str] = ()):
        super().__init__(book=packed_book(frames, label, orders))
        self.fullest = max(frames, key=lambda frame: sum(map(len, frame.rows.values())))

    def still(self) -> tuple[str, Picture]:
        """Return the book's label, and of its frames the first one with the most cards."""
        text = f"{self.book['label']}: {len(self.book['frames'])} frames"
        pictures, rows = self.fullest.pictures, self.fullest.rows
        large = max(1, round(STILL / len(next(iter(pictures.values())))))
        parts = [captioned(pictures, large)]
        for cards in rows.values():
            named = {f"{card.title}: {card.value}".strip(": "): card.picture for card in cards}
            parts.append(captioned(named))
        return text, joined(parts, axis=0)
