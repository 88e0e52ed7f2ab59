"""Text for terminals that cannot show every character: what they lack is spelled in ASCII, and nothing ever fails."""

from __future__ import annotations

import codecs
import re

PLAIN = "jrnn.plain"
"""The name of the error handler, as `open`, `str.encode` and `reconfigure` take it."""

ASCII = {
    **dict.fromkeys("–—−─━╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **{"±": "+-", "×": "x", "·": ".", "…": "...", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≈": "~"},
    **{"∞": "inf", "‖": "||", "σ": "sigma", "τ": "tau", "δ": "delta", "λ": "lambda"},
    **{raised: f"^{one}" for raised, one in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")},
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("‘’", "'"),
}


def spelled_out(error: UnicodeError) -> tuple[str, int]:
    """Spells the characters that an encoding lacks in ASCII; those without a spelling as Python does, \\u4e2d."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(one, ascii(one)[1:-1]) for one in decoded(lacking)), error.end


codecs.register_error(PLAIN, spelled_out)


def plain(text: str, encoding: str) -> str:
    """The text as a terminal of this encoding can show it."""
    return text.encode(encoding, PLAIN).decode(encoding)


def decoded(text: str) -> str:
    """The text; parts of a path that the locale could not decode are read as UTF-8, which most of them are."""
    return re.sub(
        "[\udc80-\udcff]+", lambda part: part[0].encode(errors="surrogateescape").decode(errors="replace"), text
    )
