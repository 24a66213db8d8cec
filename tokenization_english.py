"""spaCy's rules for English words, by which GPT's text was split (its version 2).

They are stated for text that `tokenization_bpe.text_standardize` went over, which sets
dashes, brackets, slashes, commas and the like apart: what only matches one of those
beside something else (most emoticons, hyphens inside words, paths of URLs) is left
out.
"""

import re
import unicodedata

# Words of their own, although they look like contractions.
_NO_CONTRACTIONS = frozenset(
    ("ill", "its", "hell", "shell", "shed", "were", "well", "whore")
)
_PRONOUNS = "i you he she it we they"
_QUESTIONS = "who what when where why how there that this these those"
_MODALS = "could might must should would"
# Words and the endings that part from them, also without the apostrophe; the spaces
# inside an ending part it further.
_CONTRACTIONS = (
    ("i", ("'m", "'m a")),
    (f"{_PRONOUNS} {_QUESTIONS}", ("'ll", "'ll 've", "'d", "'d 've")),
    (f"i you we they {_QUESTIONS} {_MODALS} not", ("'ve",)),
    (f"you we they {_QUESTIONS}", ("'re",)),
    (f"he she it {_QUESTIONS}", ("'s",)),
    (f"ca do does did had may need ought sha wo {_MODALS}", ("n't", "n't 've")),
    ("ai are is was were have has dare", ("n't",)),
)
_PARTED = "let 's;can not;gon na;got ta;c'm on;how 'd 'y"
_SLANG = "doin goin havin lovin nothin nuthin ol somethin"  # also with an apostrophe
_NEVER_PARTED = """
    ' '' \\t \\n <space> 's 'S 'd 're em 'em ll 'll nuff 'nuff 'cause 'Cause 'cos 'Cos
    'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
    :1 :3 :0 :D :O :o :P :p :X :x :> >:o =3 =D 8D xD xDD XD XDD <3 <33 <333
    o.o o.O O.o O.O o.0 0.o 0.0 v.v V.V >.< >.> <.< ಠ︵ಠ
    a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. co. Co. Corp. Inc. Ltd. Bros.
    Adm. Dr. Gen. Gov. Jr. Messrs. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. Mt.
    Jan. Feb. Mar. Apr. May. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec.
    Ak. Ala. Ariz. Ark. Calif. Colo. Conn. D.C. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan.
    Kans. Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y.
    Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis.
    a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z.
    ä. ö. ü.
"""


def _exceptions() -> dict[str, list[str]]:
    """Chunks that are split otherwise than the rules below would, or not at all."""
    parted = ["y' all", "y all"]
    parted += [f"{hour} {half}m" for hour in range(1, 13) for half in "ap"]
    parted += [f"{hour} {half}.m." for hour in range(1, 13) for half in "ap"]
    for words, endings in _CONTRACTIONS:
        for word in words.split():
            for ending in endings:
                short = ending.replace("'", "")
                parted.append(f"{word} {ending}")
                if word + short not in _NO_CONTRACTIONS:
                    parted.append(f"{word} {short}")
    parted += _PARTED.split(";")
    parted += [text[0].upper() + text[1:] for text in parted[2:]]
    slang = [*_SLANG.split(), *_SLANG.title().split()]
    whole = [*_NEVER_PARTED.split(), *slang, *(f"{word}'" for word in slang)]
    return {text.replace(" ", ""): text.split() for text in parted + whole}


_EXCEPTIONS = _exceptions()

# Letters are those of the scripts that spaCy listed: first what has upper and lower
# case, then blocks of which every character counts as both.
_CASED = (
    r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01bf\u01c4-\u02af\u1d00-\u1d25"
    r"\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1eff\u2c60-\u2c7b\u2c7e\u2c7f\ua722-\ua76f"
    r"\ua771-\ua787\ua78b-\ua78e\ua790-\ua7b9\ua7fa\uab30-\uab5a\uab60-\uab64"
    r"\uff21-\uff3a\uff41-\uff5aΑ-Ωα-ωΆΈ-ΊΌΎΏά-ίό-ώЀЁЃ-ЊЌЍА-ёѓ-њќѝҐґҖҗҢңҮүҺһӘәӨө"
)
_CASELESS = (
    r"\u0591-\u05f4\u0620-\u064a\u066e-\u06d5\u06e5-\u06ff\u0750-\u077f\u08a0-\u08bd"
    r"\u0900-\u09ff\u0b80-\u0cff\u0d80-\u0dff\u1100-\u137f\u2e80-\u2fdf\u2ff0-\u303f"
    r"\u31c0-\u31ef\u3200-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\ufb1d-\ufbb1"
    r"\ufbd3-\ufd3d\ufd50-\ufdc7\ufdf0-\ufdfb\ufe30-\ufe4f\ufe70-\ufefc"
    r"\U0001ee00-\U0001eebb\U0001f200-\U0001f2ff\U00020000-\U0002a6df"
    r"\U0002a700-\U0002ebef\U0002f800-\U0002fa1f"
)
_PLANES = [chr(code) for code in range(0x20000)]
_CASED_LETTERS = re.findall(f"[{_CASED}]", "".join(_PLANES))
_LOWER = "".join(filter(str.islower, _CASED_LETTERS)) + _CASELESS
_UPPER = "".join(filter(str.isupper, _CASED_LETTERS)) + _CASELESS
_LETTER = f"[{_CASED}{_CASELESS}]"
# Symbols as of Unicode 11.
_YOUNGER = re.compile(
    "[\u2b97\u2bc9\u2bff\u2e50\u2e51\u32ff\U0001f10d-\U0001f10f\U0001f16c-\U0001f16f"
    "\U0001f1ad\U0001f6d5-\U0001f6df\U0001f6fa-\U0001f6ff\U0001f774-\U0001f77f"
    "\U0001f7d9-\U0001f7ff\U0001f8b0-\U0001f8ff\U0001f90c-\U0001f90f\U0001f93f"
    "\U0001f971\U0001f972\U0001f977-\U0001f979\U0001f97b\U0001f9a3-\U0001f9af"
    "\U0001f9ba-\U0001f9bf\U0001f9c3-\U0001f9cf\U0001fa00-\U0001fa5f"
    "\U0001fa70-\U0001ffff]"
)
_ICONS = "".join(
    c for c in _PLANES if unicodedata.category(c) == "So" and not _YOUNGER.match(c)
)
# Full stops, told by their neighbours.
_STOP_AFTER_LOWER = rf"\.(?<=[{_LOWER}]\.)"
_STOP_AFTER_CAPITALS = rf"\.(?<=[{_UPPER}][{_UPPER}]\.)"
_BEFORE_UPPER = f"(?=[{_UPPER}])"
_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉〈〉"
_MARKS = r"…,:;!?¿؟¡()\[\]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = r"US\$|C\$|A\$|[$£€¥฿₽﷼₴]"
_UNITS = (
    "[kdcmµn]?m|(?:[kdcm]?m)[²³]|ha|yd|in|ft|[kmµ]?g|t|lb|oz|m/s|km/h|kmh|mph|hPa|Pa|"
    "mbar|[mkgt]b|[MKGT]B|T|G|M|K|%"
    "|[кдсм]?м[²³]?|нм|[км]?г|к?Па|мбар|[КкМмГгТ]б|[КМГТ]Б"
    "|(?:тб)?كم|[كسم]?م[²³]?|[غج]رام|جم|كغ|ملغ|ا?كواب|كوب"
)
_DOTS = r"\.\.+"

_PREFIX = re.compile(
    rf"[§%=—–{_MARKS}{_QUOTES}{_ICONS}]|\+(?![0-9])|{_DOTS}|{_CURRENCY}"
)
_SUFFIX = re.compile(
    rf"(?:[—–{_MARKS}{_QUOTES}{_ICONS}]|{_DOTS}|['’][sS]"
    rf"|(?<=[0-9])(?:\+|{_CURRENCY}|{_UNITS})"
    rf"|\.(?:(?<=[0-9%²+\-{_MARKS}{_QUOTES}]\.)|(?<=°[FfCcKk]\.))"
    rf"|{_STOP_AFTER_LOWER}|{_STOP_AFTER_CAPITALS})\Z"
)
_INFIX = re.compile(
    rf"{_DOTS}|[…{_ICONS}]|[+\-*^](?<=[0-9].)(?=[0-9-])"
    rf"|(?:{_STOP_AFTER_LOWER}|\.(?<=[{_QUOTES}]\.))(?:{_BEFORE_UPPER}|(?=[{_QUOTES}]))"
    rf"|[:<>=/](?:(?<={_LETTER}.)|(?<=[0-9].))(?={_LETTER})"
)
# Addresses of the web and of mail; what stands before "@" may hold anything.
_ADDRESS = re.compile(
    r"(?:\S+@)?(?:[A-Za-z0-9\u00a1-\uffff]{1,64}\.)+"
    rf"[{_LOWER}]{{2,63}}(?::\d{{2,5}})?(?:#\S*)?"
)


def split(chunk: str) -> list[str]:
    """Splits what stands between two spaces.

    Marks, quotes, currency signs and units part from its ends until an exception or
    nothing to part is left; then what is left parts at the marks inside it.

    Args:
      chunk: text without white space, standardized.

    Returns:
      The tokens; joined they are the chunk.
    """
    if chunk.isalpha():  # the most of them; no rule applies
        return _EXCEPTIONS.get(chunk, [chunk])
    before, after = [], []
    while chunk and chunk not in _EXCEPTIONS:
        prefix, suffix = _PREFIX.match(chunk), _SUFFIX.search(chunk)
        head = prefix.end() if prefix else 0
        tail = suffix.start() if suffix else len(chunk)
        if chunk[head:] in _EXCEPTIONS:
            tail = len(chunk)
        elif chunk[:tail] in _EXCEPTIONS:
            head = 0
        elif tail < head:
            tail = len(chunk)
        if head:
            before.append(chunk[:head])
        if tail < len(chunk):
            after.append(chunk[tail:])
        if len(chunk) == tail - head:
            break
        chunk = chunk[head:tail]
    return [*before, *_middle(chunk), *reversed(after)]


def _middle(chunk: str) -> list[str]:
    """Splits what has nothing left to part from its ends."""
    if chunk in _EXCEPTIONS:
        return _EXCEPTIONS[chunk]
    if _ADDRESS.fullmatch(chunk):
        return [chunk]
    tokens, start = [], 0
    for infix in _INFIX.finditer(chunk):
        if infix.start():
            tokens += [chunk[start : infix.start()], infix.group()]
            start = infix.end()
    return [token for token in [*tokens, chunk[start:]] if token]
