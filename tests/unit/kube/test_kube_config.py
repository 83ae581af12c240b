import base64
import datetime
import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fleetfit_kube import discover, from_kubeconfig, in_cluster
from fleetfit_kube.config import ConfigError, TokenFile
from fleetfit_kube.resources import NODE_INFERENCES, NODES, PODS


@pytest.fixture(scope="module")
def pem() -> tuple[bytes, bytes]:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def write_kubeconfig(path: Path, cluster: dict[str, object], user: dict[str, object]) -> Path:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "apps"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_kubeconfig_with_inline_certificates(tmp_path: Path, pem: tuple[bytes, bytes]) -> None:
    certificate, key = (base64.b64encode(part).decode() for part in pem)
    path = write_kubeconfig(
        tmp_path / "config",
        {"server": "https://127.0.0.1:6443/", "certificate-authority-data": certificate},
        {"client-certificate-data": certificate, "client-key-data": key},
    )
    connection = from_kubeconfig(path)
    assert (connection.server, connection.namespace) == ("https://127.0.0.1:6443", "apps")
    assert connection.ssl_context is not None
    assert connection.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert len(connection.ssl_context.get_ca_certs()) == 1
    assert connection.credentials is None


def test_kubeconfig_with_files_relative_to_itself(tmp_path: Path, pem: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.crt").write_bytes(pem[0])
    (tmp_path / "token").write_text("secret\n")
    path = write_kubeconfig(
        tmp_path / "config",
        {"server": "https://host:1", "certificate-authority": "ca.crt"},
        {"tokenFile": "token"},
    )
    connection = from_kubeconfig(path)
    assert connection.credentials is not None
    assert connection.credentials.token() == "secret"
    assert "secret" not in repr(connection)


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({}, {}, "has no server"),
        ({"server": "https://h:1", "insecure-skip-tls-verify": True}, {}, "not supported"),
    ],
)
def test_unusable_kubeconfigs_are_explained(
    tmp_path: Path, cluster: dict[str, object], user: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_kubeconfig(write_kubeconfig(tmp_path / "config", cluster, user))


def test_unknown_context_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", {"server": "http://h:1"}, {})
    with pytest.raises(ConfigError, match="no context named 'there'"):
        from_kubeconfig(path, "there")


def test_in_cluster_from_another_directory(tmp_path: Path, pem: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.crt").write_bytes(pem[0])
    (tmp_path / "token").write_text("bound")
    (tmp_path / "namespace").write_text("fleetfit-system")
    env = {
        "KUBERNETES_SERVICE_HOST": "127.77.1.1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "FLEETFIT_SERVICE_ACCOUNT_DIR": str(tmp_path),
        "KUBECONFIG": "ignored",
    }
    connection = discover(env)
    assert (connection.server, connection.namespace) == ("https://127.77.1.1:6443", "fleetfit-system")
    assert connection.credentials is not None
    assert connection.credentials.token() == "bound"


def test_in_cluster_without_a_service_account_is_explained(tmp_path: Path) -> None:
    env = {"KUBERNETES_SERVICE_HOST": "h", "FLEETFIT_SERVICE_ACCOUNT_DIR": str(tmp_path)}
    with pytest.raises(ConfigError, match="CA certificate"):
        in_cluster(env)


def test_nowhere_is_explained() -> None:
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        discover({})


def test_token_file_is_read_again_every_minute(tmp_path: Path) -> None:
    now_s = [0.0]
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(path, lambda: now_s[0])
    assert token.token() == "first"
    path.write_text("second")
    now_s[0] = 59.0
    assert token.token() == "first"
    now_s[0] = 60.0
    assert token.token() == "second"
    path.write_text("third")
    token.refresh()
    assert token.token() == "third"


def test_token_survives_a_vanished_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(path)
    assert token.token() == "first"
    path.unlink()
    token.refresh()
    assert token.token() == "first"
    with pytest.raises(ConfigError):
        TokenFile(path).token()


def test_paths() -> None:
    assert NODES.path(name="edge-1") == "/api/v1/nodes/edge-1"
    assert PODS.path("ns", "p", "log") == "/api/v1/namespaces/ns/pods/p/log"
    assert PODS.path() == "/api/v1/pods"
    assert NODE_INFERENCES.path("", "n", "status") == ("/apis/fleetfit.io/v1alpha1/nodeinferences/n/status")
    with pytest.raises(ValueError, match="needs a namespace"):
        PODS.path(name="p")
