"""The comments of the protos, by the full name of what they stand at."""

import re
from collections.abc import Iterator, Sequence

from google.protobuf import descriptor_pb2

_PATHS = {
    "file": {4: "message_type", 5: "enum_type", 6: "service"},
    "message_type": {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"},
    "enum_type": {2: "value"},
    "service": {2: "method"},
}
"""What the numbers in a location mean; they are the field numbers of descriptor.proto."""
_SAME = {"nested_type": "message_type"}
_LIST_ITEM = re.compile(r"(?:[-*] |\d+\. )")


def read_comments(image: bytes) -> dict[str, str]:
    """Returns the comment of everything that has one, as Markdown.

    Args:
        image: A serialized FileDescriptorSet with source info.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(image).file
    return {
        name: _unwrapped(location.leading_comments)
        for file in files
        for location in file.source_code_info.location
        if location.leading_comments and (name := _full_name(file, location.path))
    }


def _full_name(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    """Returns the name of what a location is of; empty where that is no part of the API, such as an import."""
    at: descriptor_pb2.FileDescriptorProto | None = file
    kind, names = "file", [file.package]
    numbers = iter(path)
    for number in numbers:
        kind_below = _PATHS.get(kind, {}).get(number)
        index = next(numbers, None)
        if kind_below is None or index is None:
            return ""
        at = getattr(at, kind_below)[index]
        kind = _SAME.get(kind_below, kind_below)
        names.append(at.name)
    return ".".join(names) if len(names) > 1 else ""


def _unwrapped(text: str) -> str:
    """Returns a comment with one line a paragraph and one a list item, since Markdown readers differ in the rest."""
    return "\n\n".join(_paragraphs(line.strip() for line in text.splitlines()))


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line and not _LIST_ITEM.match(line):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
        paragraph = [line] if line else []
