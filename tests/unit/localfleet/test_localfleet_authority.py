"""Certificates do what they are issued for, checked with a real TLS handshake."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from localfleet.controlplane.authority import Authority, KeyPair, Subject
from localfleet.controlplane.kubeconfig import render_kubeconfig

NOW = datetime.datetime.now(datetime.UTC)
NODE = Subject("system:node:pi-1", ("system:nodes",))


def context(purpose: ssl.Purpose, authority: Authority, pair: KeyPair, directory: Path) -> ssl.SSLContext:
    directory.mkdir()
    certificate, key = directory / "crt", directory / "key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    made = ssl.create_default_context(purpose, cadata=authority.pair.certificate.decode())
    made.load_cert_chain(certificate, key)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


async def shake_hands(server_context: ssl.SSLContext, client_context: ssl.SSLContext, hostname: str) -> str:
    """Connect and give the user that the server sees."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = writer.get_extra_info("peercert")["subject"]
        names = {key: value for ((key, value),) in subject}
        writer.write(f"{names['commonName']}/{names['organizationName']}".encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname=hostname
        )
        answer = await reader.read(200)
        writer.close()
        await writer.wait_closed()
        return answer.decode()


async def test_server_and_client_of_one_authority_trust_each_other(tmp_path: Path) -> None:
    authority = Authority.create("fleet", NOW)
    serving = authority.issue(Subject("server"), NOW, ("127.77.3.1", "localhost"))
    server = context(ssl.Purpose.CLIENT_AUTH, authority, serving, tmp_path / "server")
    client = context(ssl.Purpose.SERVER_AUTH, authority, authority.issue(NODE, NOW), tmp_path / "client")
    for host in ("127.77.3.1", "localhost"):
        assert await shake_hands(server, client, host) == "system:node:pi-1/system:nodes"
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        await shake_hands(server, client, "127.77.4.1")


async def test_authority_of_the_same_name_is_another_authority(tmp_path: Path) -> None:
    ours, other = Authority.create("fleet", NOW), Authority.create("fleet", NOW)
    serving = other.issue(Subject("server"), NOW, ("localhost",))
    server = context(ssl.Purpose.CLIENT_AUTH, other, serving, tmp_path / "server")
    client = context(ssl.Purpose.SERVER_AUTH, ours, ours.issue(NODE, NOW), tmp_path / "client")
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(server, client, "localhost")


def test_client_certificate_cannot_serve() -> None:
    pair = Authority.create("fleet", NOW).issue(NODE, NOW)
    extensions = x509.load_pem_x509_certificate(pair.certificate).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_kubeconfig_has_everything_inside() -> None:
    pair = KeyPair(b"certificate", b"key")
    text = render_kubeconfig(server="https://127.0.0.1:1", ca_cert=b"ca", user="me", credentials=pair)
    document = yaml.safe_load(text)
    assert document["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": "Y2E=",
    }
    assert document["users"][0]["user"]["client-key-data"] == "a2V5"
    assert document["current-context"] == document["contexts"][0]["name"]
