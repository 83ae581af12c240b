"""How to reach an API server: from inside a pod, or from a kubeconfig."""

import base64
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SERVICE_ACCOUNT_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_REREAD_S: Final = 60.0


class ConfigError(Exception):
    """There is no usable configuration; the message says what is missing."""


class TokenFile:
    """A bearer token in a file that the node agent replaces; read again every minute."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._token = ""
        self._read_at_s: float | None = None

    def token(self) -> str:
        """Return the current token.

        Raises:
            ConfigError: the file cannot be read and there is no earlier token.
        """
        now_s = self._clock()
        if self._read_at_s is None or now_s - self._read_at_s >= _TOKEN_REREAD_S:
            try:
                self._token = self._path.read_text(encoding="utf-8").strip()
                self._read_at_s = now_s
            except OSError as error:
                if not self._token:
                    raise ConfigError(f"cannot read the service account token: {error}") from error
        return self._token

    def refresh(self) -> None:
        """Read the file again at the next call, because the server refused the token."""
        self._read_at_s = None


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A bearer token that does not change."""

    value: str

    def token(self) -> str:
        """Return the token."""
        return self.value

    def refresh(self) -> None:
        """Do nothing: there is no other token."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how to prove who we are.

    Attributes:
        server: Base URL without a trailing slash.
        ssl_context: Verified TLS, with the client certificate if there is one; None for plain HTTP.
        credentials: Source of the bearer token, or None.
        namespace: Namespace of the pod or of the kubeconfig context.
    """

    server: str
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    credentials: TokenFile | StaticToken | None = field(default=None, repr=False)
    namespace: str = "default"


def discover(env: Mapping[str, str]) -> Connection:
    """Return the connection of the pod we run in, else of the kubeconfig.

    Raises:
        ConfigError: there is neither.
    """
    if env.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(env)
    path = env.get("KUBECONFIG") or (str(Path(env["HOME"]) / ".kube" / "config") if env.get("HOME") else "")
    if path and Path(path).is_file():
        return from_kubeconfig(path)
    raise ConfigError("not in a cluster (KUBERNETES_SERVICE_HOST is not set) and KUBECONFIG names no file")


def in_cluster(env: Mapping[str, str]) -> Connection:
    """Return the connection of a pod with its service account.

    Raises:
        ConfigError: a variable or file is missing.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError("KUBERNETES_SERVICE_HOST is not set")
    directory = Path(env.get("FLEETFIT_SERVICE_ACCOUNT_DIR") or SERVICE_ACCOUNT_DIR)
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    except OSError as error:
        raise ConfigError(f"cannot read the CA certificate {directory / 'ca.crt'}: {error}") from error
    namespace_file = directory / "namespace"
    namespace = namespace_file.read_text(encoding="utf-8").strip() if namespace_file.is_file() else "default"
    authority = f"[{host}]" if ":" in host else host
    return Connection(f"https://{authority}:{port}", context, TokenFile(directory / "token"), namespace)


def from_kubeconfig(path: str | Path, context: str | None = None) -> Connection:
    """Return the connection of a kubeconfig's context (the current one by default).

    Raises:
        ConfigError: the file is not a kubeconfig or lacks what the context names.
    """
    path = Path(path)
    config = _load_yaml(path)
    context_name = context or str(config.get("current-context") or "")
    entry = _named(config, "contexts", "context", context_name)
    cluster = _named(config, "clusters", "cluster", str(entry.get("cluster")))
    user = _named(config, "users", "user", str(entry.get("user")))
    server = str(cluster.get("server") or "").rstrip("/")
    if not server:
        raise ConfigError(f"{path}: the cluster of context {context_name!r} has no server")
    tls = _ssl_context(cluster, user, path.parent) if server.startswith("https://") else None
    return Connection(server, tls, _credentials(user, path.parent), str(entry.get("namespace") or "default"))


def _load_yaml(path: Path) -> dict[str, Any]:
    # Imported here because a runtime in a pod never reads a kubeconfig and its image has no YAML parser.
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the kubeconfig {path}: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not a kubeconfig")
    return config


def _named(config: dict[str, Any], section: str, field_name: str, name: str) -> dict[str, Any]:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(field_name) or {})
    raise ConfigError(f"the kubeconfig has no {field_name} named {name!r}")


def _credentials(user: dict[str, Any], directory: Path) -> TokenFile | StaticToken | None:
    if user.get("token"):
        return StaticToken(str(user["token"]))
    if user.get("tokenFile"):
        return TokenFile(directory / str(user["tokenFile"]))
    return None


def _ssl_context(cluster: dict[str, Any], user: dict[str, Any], directory: Path) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority", directory)
    context = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        raise ConfigError("insecure-skip-tls-verify is not supported; give the cluster's CA certificate")
    certificate = _pem(user, "client-certificate", directory)
    key = _pem(user, "client-key", directory)
    if certificate and key:
        # The ssl module takes a certificate chain only from a file; the directory is ours alone (0700).
        with tempfile.TemporaryDirectory(prefix="fleetfit-") as private:
            chain = Path(private) / "client.pem"
            chain.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(str(chain))
    return context


def _pem(entry: dict[str, Any], name: str, directory: Path) -> bytes:
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"])
    if entry.get(name):
        return (directory / str(entry[name])).read_bytes()
    return b""
