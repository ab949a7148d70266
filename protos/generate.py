"""Compiles protos/ into the stubs under runtime/, and with --image FILE into the image that buf checks.

No network and no vendored protos: Google's come from the installed googleapis-common-protos and grpcio-tools, and
buf/validate from the descriptor inside the installed protovalidate.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import google.rpc.status_pb2 as installed_googleapis
import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).resolve().parent
RELEASED = PROTOS / "released.binpb"
RUNTIME = PROTOS.parent / "runtime"
PACKAGES = ("geomesh", "buf")
PLUGINS = Path(sys.executable).parent


def main() -> None:
    """Compiles everything aside and then replaces the stubs whole, so that none outlives the proto it came from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RUNTIME, help="folder for the stubs (default: runtime/)")
    parser.add_argument("--image", type=Path, help="also write a descriptor set with imports and comments")
    parser.add_argument("--release", action="store_true", help="also make these protos what later ones may not break")
    options = parser.parse_args()

    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [name for name in sources if "\nservice " in (PROTOS / name).read_text()]
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        stubs = Path(folder)
        includes = [
            f"--descriptor_set_in={_validate_descriptor(stubs)}",
            f"-I{PROTOS}",
            f"-I{Path(installed_googleapis.__file__).parents[2]}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        ]
        typed = [f"--plugin={name}={PLUGINS / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
        messages = [*typed, f"--python_out={stubs}", f"--mypy_out=quiet:{stubs}"]
        _protoc(*includes, *messages, *sources, "buf/validate/validate.proto")
        _protoc(*includes, *typed, f"--grpc_python_out={stubs}", f"--mypy_grpc_out=quiet:{stubs}", *services)
        if options.image:
            comments = ["--include_imports", "--include_source_info", f"--descriptor_set_out={options.image}"]
            _protoc(*includes, *comments, *sources)
        if options.release:
            _protoc(*includes, "--include_imports", f"--descriptor_set_out={RELEASED}", *sources)
        for package in PACKAGES:
            for folder_of_stubs in [stubs / package, *(path for path in (stubs / package).rglob("*") if path.is_dir())]:
                (folder_of_stubs / "__init__.py").touch()
            (stubs / package / "py.typed").touch()
            shutil.rmtree(options.out / package, ignore_errors=True)
            (stubs / package).rename(options.out / package)


def _validate_descriptor(folder: Path) -> Path:
    descriptors = descriptor_pb2.FileDescriptorSet()
    descriptors.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    path = folder / "validate.binpb"
    path.write_bytes(descriptors.SerializeToString())
    return path


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit(1)


if __name__ == "__main__":
    main()
