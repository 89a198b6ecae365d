"""The wire format: columnar msgpack with a schema number, one implementation for both sides."""

from forcegate_client.wire.codec import (
    MEDIA_TYPE,
    SCHEMA,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

__all__ = [
    "MEDIA_TYPE",
    "SCHEMA",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
]
