"""The files that the gateway serves to people: the OpenAPI document and the page that shows it.

The page is Swagger UI, whose files come with the package flask-swagger-ui; nothing is loaded from elsewhere.
"""

import asyncio
import gzip
import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final, Self

_RENDERER: Final = "flask-swagger-ui"
_RENDERERS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css")
_OWN_FILES: Final = ("start.js", "page.css")
_MEDIA_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".json": "application/json"}

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and who may frame it: nothing but this host, and nobody."""


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: Where it is served, without the first slash.
        media_type: Of its content.
        plain: Its content.
    """

    path: str
    media_type: str
    plain: bytes

    @cached_property
    def tag(self) -> str:
        """A digest of the content."""
        return hashlib.sha256(self.plain).hexdigest()[:20]

    @property
    def etag(self) -> str:
        """The entity tag; a weak one, because it is the same for the compressed content."""
        return f'W/"{self.tag}"'

    @property
    def validators(self) -> dict[str, str]:
        """The headers that a reply which only says that nothing changed has too: a browser replaces its own by them."""
        # Anyone may keep it, and asks whether it is still the same before showing it.
        headers = {"etag": self.etag, "cache-control": "public, no-cache", "vary": "accept-encoding"}
        if self.media_type == "text/html":
            headers["content-security-policy"] = _PAGE_POLICY
        return headers

    def headers(self, *, compressed: bool) -> dict[str, str]:
        """Returns the headers of a reply with the content, beside those of every reply."""
        return self.validators | ({"content-encoding": "gzip"} if compressed else {})

    async def content(self, *, compressed: bool) -> bytes:
        """Returns the content; compressing it takes a moment once, beside the event loop."""
        if not compressed:
            return self.plain
        return await asyncio.to_thread(lambda: self._compressed)

    @cached_property
    def _compressed(self) -> bytes:
        return gzip.compress(self.plain, mtime=0)


class Site:
    """All files."""

    def __init__(self, files: tuple[File, ...]) -> None:
        self.files = files
        self._by_path = {file.path: file for file in files}

    @classmethod
    def load(cls) -> Self:
        """Reads everything from the installed packages."""
        own = Path(str(resources.files("gateway")))
        renderer = importlib.metadata.distribution(_RENDERER)
        files = [
            _file("openapi.json", own / "openapi.json"),
            _file("docs", own / "docs" / "index.html"),
            *(_file(f"docs/{name}", own / "docs" / name) for name in _OWN_FILES),
            *(
                _file(f"docs/{name}", Path(str(renderer.locate_file(f"flask_swagger_ui/dist/{name}"))))
                for name in _RENDERERS_FILES
            ),
        ]
        return cls(tuple(files))

    def file(self, path: str) -> File | None:
        """Returns the file that is served at `path`; None where there is none."""
        return self._by_path.get(path)


def _file(path: str, source: Path) -> File:
    return File(path, _MEDIA_TYPES[source.suffix], source.read_bytes())
