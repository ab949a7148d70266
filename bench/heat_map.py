"""Puts tiles that the service gives together into one picture: `python -m bench.heat_map URL FILE`.

The western United States on 2020-08-20, in the smoke of that summer's fires; needs nothing but a running service with the
committed sample.
"""

import argparse
import asyncio
import io
from pathlib import Path
from typing import Final

import httpx
from PIL import Image

_ZOOM: Final = 5
_COLUMNS: Final = range(4, 7)
_ROWS: Final = range(11, 13)
_SIZE: Final = 256
_GROUND: Final = (246, 246, 244, 255)


async def picture(url: str, at: str) -> Image.Image:
    """Returns the picture of a moment.

    Args:
        url: Where the edge is.
        at: The moment, as RFC 3339 has it.
    """
    ground = Image.new("RGBA", (_SIZE * len(_COLUMNS), _SIZE * len(_ROWS)), _GROUND)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for column in _COLUMNS:
            for row in _ROWS:
                path = f"/v1/tiles/airquality/{_ZOOM}/{column}/{row}.png"
                reply = (await client.get(path, params={"at": at, "pollutant": "POLLUTANT_PM25"})).raise_for_status()
                tile = Image.open(io.BytesIO(reply.content)).convert("RGBA")
                place = (_SIZE * (column - _COLUMNS[0]), _SIZE * (row - _ROWS[0]))
                ground.alpha_composite(tile, place)
    return ground


def main() -> None:
    """Draws it."""
    parser = argparse.ArgumentParser(prog="python -m bench.heat_map", description=__doc__)
    parser.add_argument("url", help="the edge, e.g. http://127.0.0.1:8080")
    parser.add_argument("file", type=Path, help="where the picture goes")
    parser.add_argument("--at", default="2020-08-20T02:00:00Z", help="the moment (default: %(default)s)")
    options = parser.parse_args()
    asyncio.run(picture(options.url, options.at)).convert("P").save(options.file, "PNG", optimize=True)


if __name__ == "__main__":
    main()
