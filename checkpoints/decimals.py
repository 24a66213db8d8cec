"""Decimal numbers out of text, many at once: tables of word vectors are full of them.

Eight characters are one integer of 64 bits, whose digits are brought together by three
multiplications (Lemire 2021, "Number parsing at a gigabyte per second", section 6). An
integer of at most 15 digits over a power of ten, both exact in 64 bits, is rounded once
(Clinger 1990), so that the result is that of `float`. What is written otherwise, with
an exponent or more digits, `float` reads, a number at a time.
"""

import re

import numpy as np

PADDING = 16  # bytes that must stand in a block before the first number ends
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_NOT_FINITE = re.compile(rb"[-+]?(nan|inf(inity)?)", re.IGNORECASE)
_POWERS = 10.0 ** np.arange(16)
_u = np.uint64


def _every(byte):
    """Returns eight times the same byte."""
    return _u(byte * 0x0101010101010101)


_ONE = _u(1)
_ZEROS, _ONES, _HIGH = _every(ord("0")), _every(1), _every(0x80)
_DOTS = _every(ord(".") ^ ord("0"))
_ABOVE_NINE = _every(0x80 - 10)  # carries a byte of 10 or more into its highest bit
# The last 0 to 8 characters of eight, which are the highest bytes.
_LAST = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(9)], np.uint64)
# 256^j times it has 7 - j in its three highest bits.
_BEHIND = _u(sum((7 - j) << (61 - 8 * j) for j in range(8)))


def is_number(text: bytes, finite: bool = True) -> bool:
    """Tells whether a text is one decimal number; or NaN or infinity, if not finite."""
    found = _NUMBER.fullmatch(text)
    return bool(found or (not finite and _NOT_FINITE.fullmatch(text)))


def parse(block: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Reads numbers.

    Args:
      block: text, with a character behind the last number.
      starts: int64 [N], where each number begins.
      ends: int64 [N], behind its last character; at least PADDING.

    Returns:
      float32 [N], what `float` says rounded to 32 bits. NaN for what is no number.
    """
    sign = np.frombuffer(block, np.uint8)[starts]
    negative = sign == ord("-")
    lengths = ends - starts
    lengths -= negative | (sign == ord("+"))
    # eights[i]: the characters from i on, the first one in the lowest byte.
    eights = np.ndarray((len(block) - 7,), "<u8", block, strides=(1,))
    value, fraction, bad = _eight(eights[ends - 8], np.minimum(lengths, 8))
    long = np.flatnonzero(lengths > 8)
    if len(long):
        lead, lead_fraction, lead_bad = _eight(
            eights[ends[long] - 16], np.minimum(lengths[long] - 8, 8)
        )
        dotted, lead_dotted = fraction[long] >= 0, lead_fraction >= 0
        value[long] += lead * np.where(dotted, 10**7, 10**8)
        fraction[long] += np.where(lead_dotted, lead_fraction + 9, 0)
        digits = lengths[long] - (dotted | lead_dotted)
        bad[long] |= lead_bad | (dotted & lead_dotted) | (digits > 15)
    bad |= lengths < 2  # may be a dot alone
    numbers = value / _POWERS[np.maximum(fraction, 0)]
    np.negative(numbers, out=numbers, where=negative)
    for i in np.flatnonzero(bad):
        number = block[starts[i] : ends[i]]
        numbers[i] = float(number) if _NUMBER.fullmatch(number) else np.nan
    with np.errstate(over="ignore"):  # infinite in 32 bits, as in `float32(float(...))`
        return numbers.astype(np.float32)


def _eight(characters, lengths):
    """Reads the last characters of eight.

    Args:
      characters: uint64 [N], the first one in the lowest byte.
      lengths: int64 [N], how many of them count, 0 to 8.

    Returns:
      int64 [N], the number that the digits are together; int64 [N], how many of them
      stand behind a dot, -1 without a dot; bool [N], where there is anything else.
    """
    digits = (characters ^ _ZEROS) & _LAST[lengths]
    others = digits ^ _DOTS
    dot = (others - _ONES) & ~others & _HIGH
    dot &= np.negative(dot)  # the lowest bit is that of the first dot
    dot >>= _u(7)  # 256^j, if it is the byte j; 0 without a dot
    none = dot == 0
    # What stands before the dot moves up into its place.
    before = (digits & (dot - _ONE)) << _u(8)
    behind = digits & np.negative(dot << _u(8))
    fraction = ((dot * _BEHIND) >> _u(61)).view(np.int64)
    if none.any():
        before[none], behind[none], fraction[none] = 0, digits[none], -1
    digits = before | behind
    bad = ((digits + _ABOVE_NINE) | digits) & _HIGH != 0
    digits = (digits * _u(10) + (digits >> _u(8))) & _u(0x00FF00FF00FF00FF)
    digits = (digits * _u(100) + (digits >> _u(16))) & _u(0x0000FFFF0000FFFF)
    digits = (digits * _u(10000) + (digits >> _u(32))) & _u(0xFFFFFFFF)
    return digits.view(np.int64), fraction, bad
