"""Routes of invoices: lists, one as JSON or as a page for people."""

from typing import Any, Final

from aiohttp import web

from metering.api.answers import answer_json, decode_cursor, page, page_size
from metering.api.body import parameter_invalid, path_key, query
from metering.api.problem import Problem
from metering.invoices.html import invoice_page
from metering.invoices.store import InvoiceStore, Kept
from rating.billed import show_invoice
from schemas.codec import to_tree
from schemas.http import Code
from schemas.instants import Instant

BEGIN: Final = Instant.parse("1900-01-01T00:00:00Z")


def routes(store: InvoiceStore) -> list[web.RouteDef]:
    """The invoices' routes."""
    http = _Invoices(store)
    return [
        web.get("/v1/invoices", http.list_invoices),
        web.get("/v1/invoices/{id}", http.get_invoice),
        web.get("/v1/invoices/{id}/lines/{n}/explain", http.explain),
    ]


class _Invoices:
    def __init__(self, store: InvoiceStore) -> None:
        self._store = store

    async def list_invoices(self, request: web.Request) -> web.Response:
        """Invoices in pages by instant of issue, of `?customer=`, of `?status=draft` or `final`."""
        parameters = query(request, "cursor", "limit", "customer", "status")
        status = parameters.get("status")
        if status not in (None, "draft", "final"):
            raise parameter_invalid("status", "must be draft or final")
        cursor = decode_cursor(parameters, (int, str))
        after = (BEGIN, "") if cursor is None else (_instant(cursor[0]), cursor[1])
        found, last = await self._store.list_after(parameters.get("customer"), status, after, page_size(parameters))
        return page([invoice_tree(kept) for kept in found], None if last is None else (int(last[0]), last[1]))

    async def get_invoice(self, request: web.Request) -> web.Response:
        """JSON, or HTML where `Accept` prefers it or the address ends in `.html`."""
        query(request)
        name = path_key(request, "id")
        html = name.endswith(".html") or _prefers_html(request.headers.get("Accept", ""))
        kept = await self._store.get(name.removesuffix(".html"))
        if kept is None:
            raise Problem(404, Code.NOT_FOUND, "Not Found", f"there is no invoice {name!r}")
        headers = {"Vary": "Accept"}
        if html:
            text = invoice_page(kept)
            headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
            return web.Response(text=text, content_type="text/html", charset="utf-8", headers=headers)
        return answer_json(invoice_tree(kept), headers=headers)

    async def explain(self, request: web.Request) -> web.Response:
        """Line `n` (from 1) as its arithmetic: what stands before the last `=` evaluates to what stands behind it."""
        query(request)
        name, position = path_key(request, "id"), request.match_info["n"]
        kept = await self._store.get(name)
        if kept is None:
            raise Problem(404, Code.NOT_FOUND, "Not Found", f"there is no invoice {name!r}")
        lines = invoice_tree(kept)["lines"]
        if not position.isascii() or not position.isdigit() or not 1 <= int(position[:9]) <= len(lines):
            raise Problem(404, Code.NOT_FOUND, "Not Found", f"{name!r} has the lines 1 to {len(lines)}")
        try:
            texts = await self._store.explain(name)
        except KeyError:
            raise Problem(
                409, Code.NOT_EXPLAINABLE, "Conflict", "what the line was made of has been changed since"
            ) from None
        text = texts[int(position) - 1] if texts is not None else ""
        return answer_json({"invoice": name, "position": int(position), "line": lines[int(position) - 1], "text": text})


def invoice_tree(kept: Kept) -> dict[str, Any]:
    """An invoice as JSON shows it: its id and the shape of spec 10."""
    return {"id": kept.id, **to_tree(show_invoice(kept.invoice, kept.number))}


def _instant(micros: int) -> Instant:
    try:
        Instant(micros).moment()
    except OverflowError:
        raise parameter_invalid("cursor", "is not one that `next` gave") from None
    return Instant(micros)


def _prefers_html(accept: str) -> bool:
    """Whether HTML is named before JSON: what browsers send, and nobody else."""
    types = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    if "text/html" not in types:
        return False
    return "application/json" not in types or types.index("text/html") < types.index("application/json")
