"""All certificates, keys and kubeconfigs of one fleet, in its state directory.

Everything is made anew for every start, for a fleet begins with an empty database; nothing outlives it.
"""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from localfleet.addresses import fleet_addresses
from localfleet.controlplane.authority import Authority, KeyPair, Subject
from localfleet.controlplane.kubeconfig import render_kubeconfig
from localfleet.controlplane.ports import LOOPBACK
from localfleet.controlplane.state_dir import StateDir, write_private

Now = Callable[[], datetime.datetime]

SERVICE_NAMES: Final = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVICE_ADDRESS: Final = "10.96.0.1"
FEATURE_DISCOVERY_USER: Final = "localfleet:feature-discovery"
KUBELET_CLIENT_USER: Final = "kube-apiserver-kubelet-client"

_ADMIN: Final = Subject("localfleet-admin", ("system:masters",))
_COMPONENTS: Final = {
    "kube-controller-manager": Subject("system:kube-controller-manager"),
    "kube-scheduler": Subject("system:kube-scheduler"),
    "feature-discovery": Subject(FEATURE_DISCOVERY_USER),
}


class Credentials:
    """Issues what the components, the nodes and the user of one fleet need."""

    def __init__(self, state: StateDir, server: str, now: Now) -> None:
        self._state = state
        self._server = server
        self._now = now
        self._cluster_ca = Authority.create("localfleet", now())
        # etcd trusts any client of its authority with everything, so nodes and users must come from another one.
        self._etcd_ca = Authority.create("localfleet-etcd", now())

    @property
    def ca_cert(self) -> bytes:
        """Certificate of the authority that signs the API server, nodes and users."""
        return self._cluster_ca.pair.certificate

    def write(self) -> None:
        """Write the files that the control plane starts with, and the user's kubeconfig."""
        write_private(self._state.certificate("ca"), self.ca_cert)
        # The controller manager signs certificate requests of the cluster with it.
        write_private(self._state.key("ca"), self._cluster_ca.pair.key)
        write_private(self._state.certificate("etcd-ca"), self._etcd_ca.pair.certificate)
        self._write_pair("etcd", self._etcd_ca, Subject("etcd"), (LOOPBACK, "localhost"))
        self._write_pair("apiserver-etcd-client", self._etcd_ca, Subject("kube-apiserver"))
        hosts = (LOOPBACK, "localhost", *SERVICE_NAMES, SERVICE_ADDRESS, *fleet_addresses())
        self._write_pair("apiserver", self._cluster_ca, Subject("kube-apiserver"), hosts)
        self._write_pair("apiserver-kubelet-client", self._cluster_ca, Subject(KUBELET_CLIENT_USER))
        for component in ("kube-controller-manager", "kube-scheduler"):
            self._write_pair(component, self._cluster_ca, _COMPONENTS[component], (LOOPBACK, "localhost"))
        self._write_service_account_keys()
        write_private(self._state.admin_kubeconfig, self.kubeconfig(_ADMIN).encode())
        for component, subject in _COMPONENTS.items():
            write_private(self._state.component_kubeconfig(component), self.kubeconfig(subject).encode())

    def kubeconfig(self, subject: Subject, server: str | None = None) -> str:
        """Give a kubeconfig with a new client certificate for a subject."""
        return render_kubeconfig(
            server=server or self._server,
            ca_cert=self.ca_cert,
            user=subject.common_name,
            credentials=self._cluster_ca.issue(subject, self._now()),
        )

    def node_kubeconfig(self, node: str, server: str | None = None) -> str:
        """Give the kubeconfig of a node's kubelet."""
        return self.kubeconfig(Subject(f"system:node:{node}", ("system:nodes",)), server)

    def feature_kubeconfig(self, server: str | None = None) -> str:
        """Give the kubeconfig of what labels nodes with their features."""
        return self.kubeconfig(_COMPONENTS["feature-discovery"], server)

    def node_serving_pair(self, node: str, address: str) -> KeyPair:
        """Issue the serving certificate of a node's kubelet."""
        subject = Subject(f"system:node:{node}", ("system:nodes",))
        return self._cluster_ca.issue(subject, self._now(), (address, node))

    def _write_pair(
        self, name: str, authority: Authority, subject: Subject, hosts: Sequence[str] = ()
    ) -> None:
        pair = authority.issue(subject, self._now(), hosts)
        write_private(self._state.certificate(name), pair.certificate)
        write_private(self._state.key(name), pair.key)

    def _write_service_account_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_private(
            self._state.key("service-account"),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(self._public_key_path(), public)

    def _public_key_path(self) -> Path:
        return self._state.pki / "service-account.pub"
