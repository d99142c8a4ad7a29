"""/openapi.json and /docs: the description of the API, for machines and for people"""

import json

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from api.described import page
from api.safe import PAGE_CSP

router = APIRouter(include_in_schema=False)

# It holds nothing of anybody's.
KEPT = {"cache-control": "public, max-age=300"}


@router.get("/openapi.json")
async def description(request: Request) -> Response:
    return Response(_once(request, "openapi_json"), media_type="application/json", headers=KEPT)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """A page without a script, and of nobody else's files."""
    return HTMLResponse(_once(request, "docs_html"), headers=KEPT | {"content-security-policy": PAGE_CSP})


def _once(request: Request, name: str) -> bytes:
    """Made by the first who asks: no key is needed for it, so it must not cost anything."""
    state = request.app.state
    if not hasattr(state, name):
        schema = request.app.openapi()
        state.openapi_json = json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode()
        state.docs_html = page(schema).encode()
    found: bytes = getattr(state, name)
    return found
