"""The page on which people read and try the calls: whole in itself, for a factory has no internet.

The web framework's own page loads its program from a public server and stays blank without one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import HTMLResponse

_PAGE: Final = Path(__file__).with_name("docs_page.html")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
}


def add_docs_page(app: FastAPI, path: str) -> None:
    """Show the calls of `app` at `path`, read from the `openapi.json` beside it."""
    page = _PAGE.read_text(encoding="utf-8")

    @app.get(path, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)
