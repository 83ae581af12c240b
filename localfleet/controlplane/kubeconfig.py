"""The kubeconfig document, as text; it writes no file."""

import base64

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
