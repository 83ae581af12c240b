"""The command line of each component: pure, one function for each.

Everything listens on loopback, speaks TLS and verifies its peer. Where a flag departs from the default, the reason
stands beside it.
"""

from pathlib import Path
from typing import Final

from localfleet.controlplane.credentials import SERVICE_NAMES
from localfleet.controlplane.ports import LOOPBACK, Ports
from localfleet.controlplane.state_dir import StateDir

ISSUER: Final = f"https://{SERVICE_NAMES[-1]}"
SERVICE_RANGE: Final = "10.96.0.0/16"

_NODE_MONITOR_PERIOD: Final = "2s"
_NODE_MONITOR_GRACE_PERIOD: Final = "16s"
_DISABLED_CONTROLLERS: Final = (
    # A node's address is on loopback, which the API does not accept in an endpoint.
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    # There is no cloud and there are no pod networks or persistent volumes to care for.
    "node-ipam-controller",
    "node-route-controller",
    "service-lb-controller",
    "cloud-node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
)


def etcd_command(binary: Path, state: StateDir, ports: Ports) -> list[str]:
    """Give etcd's command: one member, fast, its data gone with the fleet."""
    client = f"https://{LOOPBACK}:{ports.etcd_client}"
    peer = f"https://{LOOPBACK}:{ports.etcd_peer}"
    certificates = {
        "cert-file": state.certificate("etcd"),
        "key-file": state.key("etcd"),
        "trusted-ca-file": state.certificate("etcd-ca"),
    }
    return [
        str(binary),
        "--name=localfleet",
        f"--data-dir={state.etcd_data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=localfleet={peer}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        *(f"--{flag}={path}" for flag, path in certificates.items()),
        *(f"--peer-{flag}={path}" for flag, path in certificates.items()),
        # Nothing here must survive a power cut, and a disk that others use makes every write slow.
        "--unsafe-no-fsync",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=30m",
        "--snapshot-count=10000",
        "--log-level=warn",
    ]


def apiserver_command(binary: Path, state: StateDir, ports: Ports) -> list[str]:
    """Give the API server's command: Node and RBAC authorization, nobody anonymous."""
    return [
        str(binary),
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports.api}",
        # A loopback address is no valid endpoint; pods are told the address of their node's proxy.
        "--endpoint-reconciler-type=none",
        f"--etcd-servers=https://{LOOPBACK}:{ports.etcd_client}",
        f"--etcd-cafile={state.certificate('etcd-ca')}",
        f"--etcd-certfile={state.certificate('apiserver-etcd-client')}",
        f"--etcd-keyfile={state.key('apiserver-etcd-client')}",
        f"--tls-cert-file={state.certificate('apiserver')}",
        f"--tls-private-key-file={state.key('apiserver')}",
        f"--client-ca-file={state.certificate('ca')}",
        f"--kubelet-certificate-authority={state.certificate('ca')}",
        f"--kubelet-client-certificate={state.certificate('apiserver-kubelet-client')}",
        f"--kubelet-client-key={state.key('apiserver-kubelet-client')}",
        "--kubelet-preferred-address-types=InternalIP",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={state.pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={state.key('service-account')}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        # The runtime DaemonSet is not privileged; a user's own may be, as on any cluster.
        "--allow-privileged=true",
        "--profiling=false",
        "--v=1",
    ]


def controller_manager_command(binary: Path, state: StateDir, ports: Ports) -> list[str]:
    """Give the controller manager's command: all controllers that make sense, quick to see a lost node."""
    kubeconfig = state.component_kubeconfig("kube-controller-manager")
    disabled = ",".join(f"-{name}" for name in _DISABLED_CONTROLLERS)
    return [
        str(binary),
        f"--bind-address={LOOPBACK}",
        f"--secure-port={ports.controller_manager}",
        *_component_credentials(state, kubeconfig, "kube-controller-manager"),
        f"--controllers=*,{disabled}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={state.certificate('ca')}",
        f"--cluster-signing-cert-file={state.certificate('ca')}",
        f"--cluster-signing-key-file={state.key('ca')}",
        f"--service-account-private-key-file={state.key('service-account')}",
        f"--node-monitor-period={_NODE_MONITOR_PERIOD}",
        f"--node-monitor-grace-period={_NODE_MONITOR_GRACE_PERIOD}",
        "--leader-elect=false",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        "--profiling=false",
    ]


def scheduler_command(binary: Path, state: StateDir, ports: Ports) -> list[str]:
    """Give the scheduler's command."""
    kubeconfig = state.component_kubeconfig("kube-scheduler")
    return [
        str(binary),
        f"--bind-address={LOOPBACK}",
        f"--secure-port={ports.scheduler}",
        *_component_credentials(state, kubeconfig, "kube-scheduler"),
        "--leader-elect=false",
        "--profiling=false",
    ]


def _component_credentials(state: StateDir, kubeconfig: Path, name: str) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        # There is no aggregated API server, and looking for its settings fills the log with errors.
        "--authentication-skip-lookup",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--client-ca-file={state.certificate('ca')}",
        f"--tls-cert-file={state.certificate(name)}",
        f"--tls-private-key-file={state.key(name)}",
    ]
