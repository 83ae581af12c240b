"""From an image to the local command that stands in for it. Pure."""

from collections.abc import Mapping, Sequence


class UnknownImageError(LookupError):
    """No local command is known for an image."""

    def __init__(self, image: str, known: Sequence[str]) -> None:
        super().__init__(f"no local command for image {image!r}; this node knows {', '.join(sorted(known))}")


def image_repository(image: str) -> str:
    """Return an image's repository: without the tag and the digest."""
    without_digest = image.partition("@")[0]
    head, slash, last = without_digest.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def resolve_image(image: str, commands: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the command that stands in for an image.

    A registry in front makes no difference: `registry.example/fleetfit/runtime:1` is `fleetfit/runtime`.

    Raises:
        UnknownImageError: no command is known for the image.
    """
    repository = image_repository(image)
    while True:
        if repository in commands:
            return list(commands[repository])
        _, slash, rest = repository.partition("/")
        if not slash:
            raise UnknownImageError(image, list(commands))
        repository = rest
