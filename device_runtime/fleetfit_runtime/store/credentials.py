"""Credentials of model sources, from Secrets that are mounted as directories, and from the environment.

Each directory is one Secret. Its keys are named like the variables that the tools of
the clouds read (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT_KEY`, `AZURE_STORAGE_ACCOUNT_KEY`), `.dockerconfigjson`
for registries and `HTTP_AUTHORIZATION` for web servers. `uriPrefix` binds a Secret to the URIs that begin with it. They
are read at each attempt, so that a Secret may be renewed under a running node. Nothing here is logged or shown.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

URI_PREFIX_KEY: Final = "uriPrefix"
HTTP_AUTHORIZATION_KEY: Final = "HTTP_AUTHORIZATION"
DOCKER_CONFIG_KEY: Final = ".dockerconfigjson"
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret.

    Attributes:
        uri_prefix: the URIs that it is for; empty for all.
        values: text by key.
    """

    uri_prefix: str
    values: Mapping[str, str] = field(repr=False)

    def fits(self, uri: str) -> bool:
        """Tell whether it may be used for a URI: `s3://models` is for `s3://models/a`, not for `s3://models-of-x/a`."""
        prefix = self.uri_prefix.rstrip("/")
        return not prefix or uri == prefix or uri.startswith(prefix + "/")


@dataclass(frozen=True, slots=True)
class Login:
    """A user of a registry."""

    user: str
    password: str = field(repr=False)


class Credentials:
    """What this node may use.

    Args:
        directories: one for each Secret; one that is not there is a Secret that does not exist yet.
        environment: variables of the process.
    """

    def __init__(
        self, directories: Sequence[Path] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._directories = tuple(directories)
        self.environment: Mapping[str, str] = environment or {}

    async def of_cloud(self, uri: str, key_prefix: str) -> dict[str, str]:
        """Return the values for a cloud, such as those named AWS_...; empty where the environment must do."""
        for secret in await self._fitting(uri):
            values = {key: value for key, value in secret.values.items() if key.startswith(key_prefix)}
            if values:
                return values
        return {}

    async def http_authorization(self, uri: str) -> str:
        """Return the Authorization header for a URI; only a Secret with a prefix sends one, and only there."""
        for secret in await self._fitting(uri):
            if secret.uri_prefix and HTTP_AUTHORIZATION_KEY in secret.values:
                return secret.values[HTTP_AUTHORIZATION_KEY]
        return ""

    async def login(self, registry: str) -> Login | None:
        """Return the user for a registry, by host and port."""
        for secret in await asyncio.to_thread(self._secrets):
            login = _login(_json(secret.values.get(DOCKER_CONFIG_KEY, "")), registry)
            if login is not None:
                return login
        folder = self.environment.get("DOCKER_CONFIG")
        content = await asyncio.to_thread(_text, Path(folder) / "config.json") if folder else ""
        return _login(_json(content), registry)

    async def _fitting(self, uri: str) -> list[Secret]:
        fitting = [each for each in await asyncio.to_thread(self._secrets) if each.fits(uri)]
        return sorted(fitting, key=lambda each: -len(each.uri_prefix))

    def _secrets(self) -> list[Secret]:
        secrets = []
        for folder in self._directories:
            values = {path.name: _text(path) for path in _files(folder)}
            secrets.append(Secret(values.pop(URI_PREFIX_KEY, ""), values))
        return secrets


def _files(folder: Path) -> list[Path]:
    try:
        # The kubelet keeps the versions of a Secret in hidden directories, and links to the newest.
        return [path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file()]
    except OSError:
        return []


def _text(path: Path) -> str:
    """Return the text of a small file; one that cannot be read, or is no text, gives no credentials."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _login(docker_config: Mapping[str, Any], registry: str) -> Login | None:
    auths = docker_config.get("auths")
    if not isinstance(auths, dict):
        return None
    for host, entry in auths.items():
        if _host(str(host)) == registry and isinstance(entry, dict):
            return _login_of(entry)
    return None


def _login_of(entry: Mapping[str, Any]) -> Login | None:
    if "auth" in entry:
        try:
            user, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Login(user, password)
    if "username" in entry:
        return Login(str(entry["username"]), str(entry.get("password", "")))
    return None


def _host(name: str) -> str:
    """Return host and port of a key of a Docker configuration, which may be a URL."""
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]
