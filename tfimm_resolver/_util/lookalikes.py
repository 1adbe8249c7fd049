"""Names with invisible characters: refused where these do nothing, and next to a name that looks the same.

Some scripts and emoji need such characters: Persian writes a non-joiner inside words, a family of emoji is held together by
joiners. There they stay; elsewhere ``saved_model<zero width space>.pb`` would be taken for ``saved_model.pb``.
"""

from __future__ import annotations

import re

# Directional marks make a name look like another one; line separators and C1 controls forge lines on a terminal.
_FORGING = "\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# The other Default_Ignorable_Code_Points (Unicode 16, DerivedCoreProperties.txt), and interlinear annotations: those without
# a use in names, and those that some scripts use.
_USELESS = (
    "\u00ad\u115f\u1160\u17b4\u17b5\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_SCRIPTS = "\u034f\u180b-\u180f\u200b-\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
_TAGS = "\U000e0020-\U000e007f"
_REFUSED = re.compile(f"[{_FORGING}{_USELESS}]")
_UNSEEN = re.compile(f"[{_FORGING}{_USELESS}{_SCRIPTS}{_TAGS}]")
_BLANK = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u2800\u3000]")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # a region, as in the flag of Scotland
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_ALPHABETS_END = "\u0590"
"""Below are Latin, Greek, Cyrillic and Armenian letters, which need none of these characters."""
_EMOJI_BELOW = ("\u00a9", "\u00ae")
_EMOJI_STYLE = "\ufe0f"
_NON_JOINER, _JOINER = "\u200c\u200d"
_JOINING = re.compile("[\u0620-\u08ff\u1807-\u18aa]")
# Letters of these scripts that never join the next one: after them, a non-joiner changes nothing.
_NOT_JOINING = re.compile(
    "[\u0621-\u0625\u0627\u0629\u062f-\u0632\u0648\u0671-\u0677\u0688-\u0699\u06c0\u06c3-\u06cb\u06cd\u06cf\u06d2-\u06d5"
    "\u06dd\u06ee\u06ef]"
)
_VIRAMA = 9


def find_unseen(part: str) -> str | None:
    """Return the first character of a name that is not seen and does nothing there; None if there is none."""
    if part.isascii():
        return None
    if found := _REFUSED.search(part):
        return found[0]
    rest = _KEYCAP.sub("\u20e3", _FLAG.sub("\U0001f3f4", part))
    previous = ""
    for character in rest:
        if not _UNSEEN.match(character):
            previous = character
        elif "\U000e0000" <= character <= "\U000e007f" or not (previous >= _ALPHABETS_END or previous in _EMOJI_BELOW):
            return character
    return None


def make_skeleton(part: str) -> str:
    """Return a name without the invisible characters in it, and with plain spaces: what a reader can tell apart."""
    if part.isascii():
        return part
    flags = {at for found in _FLAG.finditer(part) for at in range(*found.span())}
    seen = [
        character
        for at, character in enumerate(part)
        if at in flags or not _UNSEEN.match(character) or _changes_shape(part, at)
    ]
    return _BLANK.sub(" ", "".join(seen))


def _changes_shape(part: str, at: int) -> bool:
    """Return whether a joiner or non-joiner has a visible effect (RFC 5892, appendix A; UTS 51, 2.3)."""
    if part[at] not in (_NON_JOINER, _JOINER):
        return False
    import unicodedata  # a library of 1 MB, which a hit does not load

    before, after = part[:at].rstrip(_EMOJI_STYLE)[-1:], _UNSEEN.sub("", part[at + 1 :])[:1]
    if not before or not after or _UNSEEN.match(before):
        return False
    if unicodedata.combining(before) == _VIRAMA or unicodedata.combining(after) == _VIRAMA:
        return True
    if _JOINING.match(before) and _JOINING.match(after):
        return not _NOT_JOINING.match(before)
    return part[at] == _JOINER and all(unicodedata.category(one) in ("So", "Sk") for one in (before, after))
