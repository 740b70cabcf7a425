"""`@metering.metered(...)`: a function whose calls are usage.

    @metering.metered("report.made", subject="account", data=lambda report, *_: {"pages": report.pages})
    async def make_report(account: str, month: str) -> Report: ...

A call that returns is an event; one that raises is none. Metering never breaks the call: if no event can be made of it,
that is logged and counted as dropped.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from metering.client.event import Data

if TYPE_CHECKING:
    from metering.client.emitter import Emitter

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Described: TypeAlias = str | Callable[..., T]

_LOG: Final = logging.getLogger("metering.client")


def metered(
    emitter: "Emitter", event_type: str, subject: Described[str], data: Described[Data] | None
) -> Callable[[F], F]:
    """The decorator.

    subject: the name of the argument that is the customer's key, or what makes it of the call's arguments. data: the
    name of an argument that is a map, or what makes one of the result and the call's arguments. Raises `ValueError`
    where the function has no such argument, `TypeError` for a generator: it has no one moment at which it is used.
    """

    def decorate(function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: call metering.count where it is used up")
        signature = inspect.signature(function)
        for name in (subject, data):
            if isinstance(name, str) and name not in signature.parameters:
                raise ValueError(f"{function.__qualname__} has no argument {name!r}: {', '.join(signature.parameters)}")

        def note(result: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            try:
                bound = signature.bind(*args, **named)
                bound.apply_defaults()
                customer = bound.arguments[subject] if isinstance(subject, str) else subject(*args, **named)
                if isinstance(data, str):
                    used = bound.arguments[data]
                else:
                    used = data(result, *args, **named) if data is not None else None
                emitter.send(event_type, customer, used)
            except Exception:
                emitter.note_unmetered()
                _LOG.exception("a call of %s was not metered", function.__qualname__)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **named: Any) -> Any:
                result = await function(*args, **named)
                note(result, args, named)
                return result

            return cast(F, awaited)

        @functools.wraps(function)
        def called(*args: Any, **named: Any) -> Any:
            result = function(*args, **named)
            note(result, args, named)
            return result

        return cast(F, called)

    return decorate
