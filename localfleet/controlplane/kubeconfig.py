"""The kubeconfig document, as text, and the environment of tools that read one; it writes no file."""

import base64
import os
from pathlib import Path

import yaml

from localfleet.controlplane.authority import KeyPair


def render_kubeconfig(*, server: str, ca_cert: bytes, user: str, credentials: KeyPair) -> str:
    """Give a kubeconfig with one context, with all credentials inside so that it can be moved."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "localfleet",
        "clusters": [
            {
                "name": "localfleet",
                "cluster": {"server": server, "certificate-authority-data": _base64(ca_cert)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(credentials.certificate),
                    "client-key-data": _base64(credentials.key),
                },
            }
        ],
        "contexts": [{"name": "localfleet", "context": {"cluster": "localfleet", "user": user}}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def tool_environment(kubeconfig: Path) -> dict[str, str]:
    """Give the environment of kubectl or helm: nothing of the caller's, and a cache beside the kubeconfig."""
    return {"PATH": os.defpath, "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}
