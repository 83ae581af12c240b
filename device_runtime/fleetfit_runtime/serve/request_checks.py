"""What holds of an infer request however it came: does it fit the model, whom may it ask, how long does it wait."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fleetfit_runtime.engine.model_session import TensorSpec
from fleetfit_runtime.engine.tensor_types import TensorType
from fleetfit_runtime.ratings.given import LONGEST_USER
from fleetfit_runtime.serve.errors import RequestError, bad_request

# Rank of a tensor; numpy stops at 64.
MOST_DIMENSIONS: Final = 32
_LARGEST_DIMENSION: Final = 1 << 48


def checked_input(
    name: str, datatype: object, specs: Mapping[str, TensorSpec]
) -> tuple[TensorSpec, TensorType]:
    """Return the model's input of a name, and its type.

    Raises:
        RequestError: there is none, or it is of another type.
    """
    spec = specs.get(name)
    if spec is None:
        raise bad_request(f"the model has no input {name!r}; it has {', '.join(map(repr, specs)) or 'none'}")
    if spec.tensor_type is None:
        raise bad_request(f"input {name!r} has the type {spec.onnx_type}, which the protocol cannot carry")
    if datatype != spec.tensor_type.datatype:
        raise bad_request(
            f"input {name!r} must have the datatype {spec.tensor_type.datatype}, not {datatype!r}"
        )
    return spec, spec.tensor_type


def checked_shape(name: str, shape: Sequence[Any], expected: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an input if it fits the model's, in which -1 stands for any size.

    Raises:
        RequestError: it does not.
    """
    if any(type(size) is not int or not 0 <= size < _LARGEST_DIMENSION for size in shape):
        raise bad_request(f"the shape of input {name!r} must consist of whole numbers from 0")
    if len(shape) != len(expected) or any(
        want not in (-1, size) for size, want in zip(shape, expected, strict=True)
    ):
        raise bad_request(
            f"input {name!r} has the shape {shape[:MOST_DIMENSIONS]}, but the model wants {list(expected)}"
        )
    return tuple(shape)


def require_inputs(given: Mapping[str, object], specs: Iterable[TensorSpec]) -> None:
    """See that no input is missing.

    Raises:
        RequestError: one is.
    """
    missing = [spec.name for spec in specs if spec.required and spec.name not in given]
    if missing:
        raise bad_request(f"input {missing[0]!r} is missing")


def unknown_output(name: str, known: Iterable[str]) -> RequestError:
    """Return the error for an output that the model does not have."""
    return bad_request(f"the model has no output {name!r}; it has {', '.join(map(repr, known))}")


def user_to_ask(parameters: Mapping[str, Any]) -> str | None:
    """Return the user whom the client can ask for a rating; empty for one without a name, None when it cannot ask.

    Raises:
        RequestError: the parameter `fleetfit_ask` is neither a flag nor a user.
    """
    value = parameters.get("fleetfit_ask", False)
    if isinstance(value, bool):
        return "" if value else None
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_USER:
        raise bad_request(f"fleetfit_ask must be true, false or a user of 1 to {LONGEST_USER} characters")
    return value


def timeout_of(parameters: Mapping[str, Any]) -> float | None:
    """Return Triton's request timeout in seconds: the parameter `timeout` in microseconds, 0 for none.

    Raises:
        RequestError: it is no such number.
    """
    value = parameters.get("timeout", 0)
    if type(value) is not int or value < 0:
        raise bad_request("timeout must be a whole number of microseconds from 0")
    return value / 1e6 if value else None
