"""What every request goes through: an id, the key, and an answer in one shape whatever happens."""

import re
import secrets
import time
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from metering.api.keys import Key, Keys
from metering.api.problem import Problem, phrase, problem
from metering.api.scopes import REQUEST_ID, SCOPES, Handler, allows, needed
from metering.errors import LogUnavailable, StoreUnavailable
from metering.observe.metrics import API_REQUESTS, API_SECONDS
from schemas.http import Code

LOG = structlog.get_logger("metering.api")
ID_HEADER: Final = "X-Request-Id"
RETRY_SECONDS: Final = 2
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_CODES: Final = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    415: Code.MEDIA_TYPE_UNSUPPORTED,
}


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, turn what is raised into a problem, and count it; outermost of all."""
    given = request.headers.get(ID_HEADER, "")
    request_id = given if _ACCEPTED_ID.fullmatch(given) else secrets.token_hex(8)
    request[REQUEST_ID] = request_id
    started = time.perf_counter()
    try:
        response = await handler(request)
    except Problem as refused:
        response = refused.response()
    except web.HTTPException as error:
        response = _http_problem(error)
    except (StoreUnavailable, LogUnavailable) as error:
        LOG.warning("unavailable", request_id=request_id, path=request.path, error=str(error))
        response = _unavailable(error)
    except Exception:
        LOG.exception("request_failed", request_id=request_id, method=request.method, path=request.path)
        response = problem(500, Code.INTERNAL, phrase(500), f"the log says more under the request id {request_id}")
    if not response.prepared:
        response.headers[ID_HEADER] = request_id
    route = _route(request)
    API_SECONDS.labels(route).observe(time.perf_counter() - started)
    API_REQUESTS.labels(route, str(response.status)).inc()
    return response


def authenticate(keys: Keys) -> Middleware:
    """The middleware that lets in who has a key with the scope that the request needs; sets `request[SCOPES]`."""

    @web.middleware
    async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = await _key_of(request, keys)
        request[SCOPES] = key.scopes
        wanted = needed(request)
        if not allows(key.scopes, wanted):
            raise Problem(403, Code.FORBIDDEN, phrase(403), f"this needs a key with the scope {wanted.value!r}")
        return await handler(request)

    return authenticated


async def _key_of(request: web.Request, keys: Keys) -> Key:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = await keys.find(token.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        said = "this key is not known, or was revoked" if token else "send 'Authorization: Bearer <key>'"
        raise Problem(
            401, Code.UNAUTHENTICATED, phrase(401), said, headers={"WWW-Authenticate": 'Bearer realm="metering"'}
        )
    return key


def _unavailable(error: StoreUnavailable | LogUnavailable) -> web.StreamResponse:
    """The problem of a part that is away; what was asked may be asked again."""
    store = isinstance(error, StoreUnavailable)
    return problem(
        503,
        Code.STORE_UNAVAILABLE if store else Code.LOG_UNAVAILABLE,
        phrase(503),
        f"the {'database' if store else 'log'} does not answer; ask again",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _http_problem(error: web.HTTPException) -> web.StreamResponse:
    """What aiohttp raises by itself: no such route, a wrong method, a body that is too large."""
    code = _CODES.get(error.status)
    if error.status < 400:
        return web.Response(status=error.status, headers=error.headers)
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    detail = {404: "nothing has this address", 405: f"this address takes {headers.get('Allow')}"}.get(error.status)
    return problem(error.status, code or f"http_{error.status}", phrase(error.status), detail, headers=headers or None)


def _route(request: web.Request) -> str:
    """The route's pattern, never the path itself: labels come from a closed list."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
