"""What is kept of a final invoice: the value that billing made, as JSON, exact; and the id that names it for ever."""

import base64
import hashlib
from fractions import Fraction
from typing import Any, Final

import msgspec

from rating.billed import Invoice

ID_BYTES: Final = 15


def id_of(customer: str, key: str) -> str:
    """The id of the invoice of an issue: the same for every scheduler and every run."""
    digest = hashlib.blake2b(f"{len(customer)}:{customer}{key}".encode(), digest_size=ID_BYTES).digest()
    return "inv_" + base64.b32encode(digest).decode().lower()


def to_detail(invoice: Invoice) -> str:
    """The invoice as JSON; money in minor units, quantities as fractions."""
    return _ENCODER.encode(invoice).decode()


def from_detail(tree: Any) -> Invoice:
    """The invoice that `to_detail` wrote, from the tree of its JSON."""
    return msgspec.convert(tree, Invoice, dec_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, int):  # an instant
        return int(value)
    raise NotImplementedError(type(value).__name__)


def _decode(wanted: type, written: Any) -> Any:
    if wanted is Fraction and isinstance(written, str):
        return Fraction(written)
    raise ValueError(f"no {wanted.__name__}")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode)
