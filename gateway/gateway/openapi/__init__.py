"""The API as an OpenAPI 3.1 document, and as pages for docs/, both written from the protos by ``make protos``.

The stubs hold everything but the comments, which protoc drops from them; those come from an image that
``protos/generate.py --image`` compiles. The results are checked in, and ``make check`` fails when they are not what the
protos say.
"""
