"""The words in which a user names variants: `[NAME=]FILE[:ACCURACY]` and `NAME=VALUE`."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fleetfit_api.suite import Precision

from fleetfit_cli.errors import WrongUseError

_NAME: Final = re.compile(r"([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)=(.+)")
_MAX_NAME_LENGTH: Final = 63


@dataclass(frozen=True, slots=True)
class VariantWord:
    """A variant as a user names it.

    Attributes:
        name: Its name in the suite; the file's name without .onnx unless given.
        path: Its file.
        accuracy: Its quality, where it was given beside the file.
    """

    name: str
    path: Path
    accuracy: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the variant of a word such as cnn8-int8.onnx:0.98 or small=models/cnn8.onnx.

        Raises:
            ValueError: the accuracy is none, or no name can be made of the file's.
        """
        if Path(text).is_file():  # whatever '=' and ':' it has in its name
            return cls(_name_of(Path(text)), Path(text))
        accuracy = None
        file, colon, figure = text.rpartition(":")
        if colon and not figure.endswith(".onnx"):
            text, accuracy = file, parse_accuracy(figure)
        named = _NAME.fullmatch(text)
        if named is not None and not Path(text).is_file():
            if len(named[1]) > _MAX_NAME_LENGTH:
                raise ValueError(
                    f"{named[1]!r} is too long: a variant's name has at most {_MAX_NAME_LENGTH} letters"
                )
            return cls(named[1], Path(named[2]), accuracy)
        return cls(_name_of(Path(text)), Path(text), accuracy)


def parse_accuracy(text: str) -> float:
    """Return a fraction.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    try:
        accuracy = float(text)
    except ValueError:
        accuracy = -1.0
    if not 0 <= accuracy <= 1:
        raise ValueError(f"{text!r} is no accuracy: it is a fraction, 98% is 0.98")
    return accuracy


def parse_named_accuracy(text: str) -> tuple[str, float]:
    """Return variant and accuracy of NAME=ACCURACY.

    Raises:
        ValueError: it is not in this form; the message says what it looks like.
    """
    name, equals, figure = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} names no variant: write NAME=ACCURACY, as in cnn8-int8=0.98")
    return name, parse_accuracy(figure)


def parse_named_precision(text: str) -> tuple[str, Precision]:
    """Return variant and precision of NAME=PRECISION.

    Raises:
        ValueError: it is not in this form; the message says what it looks like.
    """
    name, equals, precision = text.rpartition("=")
    if not equals or not name or precision not in set(Precision):
        raise ValueError(f"{text!r} is not NAME=PRECISION, as in cnn8=int8; there are {', '.join(Precision)}")
    return name, Precision(precision)


def check_names(words: Sequence[VariantWord]) -> None:
    """Check that every variant has a name of its own.

    Raises:
        WrongUseError: two have the same; the message says how to give another.
    """
    for name, count in Counter(word.name for word in words).items():
        if count > 1:
            path = next(word.path for word in reversed(words) if word.name == name)
            raise WrongUseError(
                f"{count} variants are called {name}: give another name, as in {name}-2={path}"
            )


def check_known(given: Sequence[str], names: Sequence[str], option: str) -> None:
    """Check that options speak of variants that there are.

    Raises:
        WrongUseError: one does not.
    """
    for name in given:
        if name not in names:
            raise WrongUseError(
                f"{option} {name}=…: there is no variant {name!r}; variants are {', '.join(names)}"
            )


def _name_of(path: Path) -> str:
    name = re.sub(r"[^a-z0-9.]+", "-", path.name.removesuffix(".onnx").lower())[:_MAX_NAME_LENGTH].strip("-.")
    if not name:
        raise ValueError(f"no name can be made of {path.name!r}: give one, as in small={path}")
    return name
