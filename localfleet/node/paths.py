"""Mount paths become local paths: without root a process node has no mount namespace of its own. Pure.

A pod's container is told paths by its environment and its arguments. The node replaces each mount path that it finds
there by the local directory of the volume.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath


class PathRewriter:
    """Replaces mount paths in texts, the longest first and only where a path begins and a component ends."""

    def __init__(self, local_by_mount: Mapping[str, str]) -> None:
        self._local_by_mount = {_normal(mount): local for mount, local in local_by_mount.items()}
        mounts = sorted((mount for mount in self._local_by_mount if mount != "/"), key=len, reverse=True)
        alternatives = "|".join(re.escape(mount) for mount in mounts)
        # A path begins where no path character precedes it, or after a scheme such as file://.
        self._pattern = (
            re.compile(rf"(?:(?<![\w./\-])|(?<=://))(?:{alternatives})(?![\w.\-])") if mounts else None
        )

    def rewrite(self, text: str) -> str:
        """Return the text with mount paths replaced by local ones."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._local_by_mount[match.group(0)], text)

    def local(self, mount_path: str) -> str | None:
        """Return the local path of exactly this mount path, or None where nothing is mounted there."""
        return self._local_by_mount.get(_normal(mount_path))


def _normal(mount_path: str) -> str:
    return str(PurePosixPath(mount_path))
