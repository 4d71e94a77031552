"""Bodies decoded into their declared classes; a failure says what was expected, what came, and where."""

import functools
import re
from typing import Any, TypeVar, cast

import msgspec

from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.server.schemas.query import QUERIES_NOT_SERVED

RequestBody = bytes | bytearray

T = TypeVar("T")

_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`")
_OUTSIDE_LIMITS = re.compile(r"` [<>]|of length")


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(kind: type[T], body: RequestBody) -> T:
    """The body as an instance of `kind`.

    Raises:
        InvalidRequest: not JSON, an unknown or missing field, or a value of the wrong type.
        Unprocessable: a number or length outside its declared limits.
    """
    try:
        return cast(T, _decoder(cast(Any, kind)).decode(body))
    except msgspec.ValidationError as error:
        raise _explained(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"Format error in JSON body: {error}") from None


def convert(value: object, kind: type[T], path: str) -> T:
    """A part of an already decoded body as an instance of `kind`; raises like `decode`.

    Args:
        path: where the part was, the prefix of the paths in errors.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        explained = _explained(str(error), kind)
        inner = f"{path}.{explained.path}" if explained.path else path
        raise type(explained)(explained.message, inner) from None


def _explained(text: str, kind: object) -> InvalidRequest:
    """The decoder's message, its path in our form, with a helping word about what is known but not served."""
    at = _AT.search(text)
    path = (at.group(1) or None) if at else None
    message = text[: at.start()] if at else text
    unknown = _UNKNOWN_FIELD.search(message)
    if (
        unknown
        and path
        and path.split(".")[-1].startswith("query")
        and unknown.group(1) in QUERIES_NOT_SERVED
    ):
        return not_served(
            f"queries by `{unknown.group(1)}`", "a vector, a point id, `order_by` or `sample`", path
        )
    if unknown and path is None and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        message = f"{message}, expected one of {known}"
    if path and path.endswith("]") and message == "Expected `float`, got `array`":
        return InvalidRequest(
            "expected a list of numbers, or for a multi-vector a list of such lists; got lists nested deeper",
            path,
        )
    if path and "vector" in path and message.endswith("got `object`"):
        return not_served("sparse vectors and inference inputs", "lists of numbers", path)
    if _OUTSIDE_LIMITS.search(message):
        return Unprocessable(message, path)
    return InvalidRequest(message, path)


def not_served(what: str, served: str, path: str) -> InvalidRequest:
    """The error for a part of the wire format that this version has not."""
    return InvalidRequest(f"{what} are not served by this version; served: {served}", path)
