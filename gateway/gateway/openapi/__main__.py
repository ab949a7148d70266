"""Writes the OpenAPI document and docs/api-reference: ``python -m gateway.openapi --image IMAGE``."""

import argparse
import json
from importlib import resources
from pathlib import Path

from gateway.contract import load
from gateway.openapi.comments import read_comments
from gateway.openapi.document import only_grpc, openapi
from gateway.openapi.reference import pages

_HERE = Path(str(resources.files("gateway")))


def main() -> None:
    """Writes both, and removes pages of services that are gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="what `protos/generate.py --image` wrote")
    parser.add_argument("--out", type=Path, default=_HERE / "openapi.json")
    parser.add_argument("--pages", type=Path, default=_HERE.parents[1] / "docs" / "api-reference")
    options = parser.parse_args()

    contract = load()
    comments = read_comments(options.image.read_bytes())
    document = openapi(contract, comments)
    options.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    options.pages.mkdir(parents=True, exist_ok=True)
    written = pages(document, list(only_grpc(contract)), comments)
    for page in options.pages.glob("*.md"):
        if page.name not in written:
            page.unlink()
    for name, text in written.items():
        (options.pages / name).write_text(text)


if __name__ == "__main__":
    main()
