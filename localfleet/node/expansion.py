"""Kubernetes' `$(VAR)` expansion, for arguments and environment values. Pure.

The rules are the API's: `$(VAR)` is replaced where VAR is defined and left alone where it is not, `$$` is one dollar
sign, so `$$(VAR)` is the text `$(VAR)`, and any other dollar sign stands for itself.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with its references to variables replaced."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(replacement, text)
