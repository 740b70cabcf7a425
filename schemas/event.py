"""Events: CloudEvents 1.0 as the engine accepts them (spec 2.1, 2.3)."""

from typing import Annotated, Final, Literal

import msgspec

TEXT_MAX: Final = 255
"""Characters that an id, a source, a type or a subject may have (spec 2.3)."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
"""1 to 255 characters; control characters and blanks at the edges are refused by `rating.events`."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One usage event. `subject` is the customer's key, `time` RFC 3339 text with an offset as it was sent.

    A `time`, `subscription` or `data` of null is absent (CloudEvents: null means unset). An absent time is the instant
    of receipt, absent data is empty. `data` is the JSON object as it was sent. Other attributes are ignored here; they
    stay in the event's bytes.
    """

    id: Name
    source: Name
    type: Name
    subject: Name
    specversion: Literal["1.0"]
    time: str | None = None
    subscription: Name | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
