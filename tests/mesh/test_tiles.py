"""Tiles of the loaded sample through the edge."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

SMOKE = {"at": "2020-08-20T02:00:00Z"}


@pytest.mark.parametrize(("file", "kind"), [("12.png", "image/png"), ("12.mvt", "application/vnd.mapbox-vector-tile")])
async def test_a_tile_is_sent_once_and_then_only_confirmed(client: httpx.AsyncClient, file: str, kind: str) -> None:
    first = await client.get(f"/v1/tiles/airquality/5/5/{file}", params=SMOKE)
    assert (first.status_code, first.headers["content-type"]) == (200, kind)
    assert first.headers["cache-control"] == "public, max-age=60"
    again = await client.get(
        f"/v1/tiles/airquality/5/5/{file}", params=SMOKE, headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "x-geomesh-http-status" not in again.headers
    other = await client.get(f"/v1/tiles/airquality/5/5/{file}", params=SMOKE, headers={"if-none-match": '"other"'})
    assert other.content == first.content


async def test_the_smoke_of_2020_is_red_on_the_heat_map(client: httpx.AsyncClient) -> None:
    tile = await client.get("/v1/tiles/airquality/5/5/12.png", params=SMOKE)
    image = Image.open(io.BytesIO(tile.content))
    assert image.size == (256, 256)
    painted = np.asarray(image.convert("RGBA")).reshape(-1, 4)
    colors = {tuple(each) for each in np.unique(painted, axis=0).tolist()}
    assert {(255, 0, 0, 255), (255, 255, 0, 255), (0, 228, 0, 255)} <= colors
    assert any(color[3] == 0 for color in colors)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("3/8/0.png", "x"),
        ("3/0/8.png", "file"),
        ("19/0/0.png", "z"),
        ("3/0/0.jpg", "file"),
        ("3/0/0.png?index=none", "index"),
        ("3/0/0.png?at=2999-01-01T00:00:00Z", "at"),
        ("3/-1/0.png", "x"),
    ],
)
async def test_refuses_a_tile_that_there_is_none_of(client: httpx.AsyncClient, path: str, field: str) -> None:
    response = await client.get(f"/v1/tiles/airquality/{path}")
    assert response.status_code == 400
    fields = [each["field"] for detail in response.json()["details"] for each in detail.get("fieldViolations", ())]
    assert fields == [field]
