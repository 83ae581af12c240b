"""How a command reaches its cluster."""

from collections.abc import Mapping
from pathlib import Path

from fleetfit_kube import Connection, discover, from_kubeconfig
from fleetfit_kube.config import ConfigError

from fleetfit_cli.errors import FailedError


def connection(kubeconfig: Path | None, env: Mapping[str, str]) -> Connection:
    """Return the connection of a kubeconfig; without one that of the pod, else of KUBECONFIG.

    Raises:
        FailedError: there is no usable configuration.
    """
    try:
        return discover(env) if kubeconfig is None else from_kubeconfig(kubeconfig)
    except ConfigError as error:
        raise FailedError(f"the cluster cannot be reached: {error}") from error
