"""The kinds of object stores: how URIs name an object, and what of the credentials their library is told. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.uri import redacted, split_uri

_BLOB_HOST: Final = re.compile(r"^([a-z0-9]{3,24})\.blob\.core\.windows\.net$")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One kind of object store.

    Attributes:
        key_prefix: what the names of its variables begin with.
        identities: variables any of which says who asks; without one the store is asked as anyone, because a node
            outside a cloud would wait long for a metadata server.
        skip_signature: key that makes requests anonymous.
        endpoints: variables with another address than the cloud's own.
        renamed: names that other tools use -> the library's.
    """

    key_prefix: str
    identities: frozenset[str]
    skip_signature: str
    endpoints: tuple[str, ...]
    renamed: Mapping[str, str]


CLOUDS: Final = {
    "s3": Cloud(
        "AWS_",
        frozenset(
            {
                "AWS_ACCESS_KEY_ID",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_SKIP_SIGNATURE",
            }
        ),
        "aws_skip_signature",
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        {"AWS_ENDPOINT_URL_S3": "AWS_ENDPOINT_URL"},
    ),
    "gs": Cloud(
        "GOOGLE_",
        frozenset(
            {
                "GOOGLE_SERVICE_ACCOUNT",
                "GOOGLE_SERVICE_ACCOUNT_KEY",
                "GOOGLE_APPLICATION_CREDENTIALS",
                "GOOGLE_BEARER_TOKEN",
                "GOOGLE_SKIP_SIGNATURE",
            }
        ),
        "google_skip_signature",
        ("GOOGLE_BASE_URL",),
        {},
    ),
    "azure": Cloud(
        "AZURE_",
        frozenset(
            {
                "AZURE_STORAGE_ACCOUNT_KEY",
                "AZURE_STORAGE_SAS_KEY",
                "AZURE_STORAGE_TOKEN",
                "AZURE_STORAGE_CLIENT_ID",
                "AZURE_FEDERATED_TOKEN_FILE",
                "AZURE_STORAGE_USE_EMULATOR",
                "AZURE_SKIP_SIGNATURE",
            }
        ),
        "azure_skip_signature",
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        {
            "AZURE_STORAGE_ACCOUNT": "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_STORAGE_KEY": "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_TOKEN": "AZURE_STORAGE_SAS_KEY",
            "AZURE_CLIENT_ID": "AZURE_STORAGE_CLIENT_ID",
            "AZURE_CLIENT_SECRET": "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_TENANT_ID": "AZURE_STORAGE_TENANT_ID",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where an object is.

    Attributes:
        kind: key of `CLOUDS`.
        bucket: bucket or container.
        key: name in it.
        account: storage account of Azure, where the URI has it.
    """

    kind: str
    bucket: str
    key: str
    account: str = ""


def is_blob_url(uri: str) -> bool:
    """Tell whether an https URL is of Azure's blobs and carries no signature of its own."""
    parts = split_uri(uri)
    return parts.scheme == "https" and not parts.query and bool(_BLOB_HOST.match(parts.hostname or ""))


def object_place(uri: str) -> ObjectPlace:
    """Return where a URI points.

    Raises:
        ModelFailure: a part is missing.
    """
    parts = split_uri(uri)
    path = unquote(parts.path).lstrip("/")
    blob_host = _BLOB_HOST.match(parts.hostname or "") if parts.scheme == "https" else None
    if blob_host:
        container, _, key = path.partition("/")
        place = ObjectPlace("azure", container, key, blob_host[1])
    else:
        place = ObjectPlace(parts.scheme, parts.netloc, path)
    if not place.bucket or not place.key:
        message = f"{redacted(uri)!r} needs a bucket and the name of a file in it"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message)
    if any(part in ("", ".", "..") for part in place.key.split("/")):
        message = f"the name of the file in {redacted(uri)!r} has a part that is empty, '.' or '..'"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message)
    return place


def store_config(
    place: ObjectPlace, cloud: Cloud, values: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the library's configuration of a store; what is not in it the library takes from the environment."""
    named = {cloud.renamed.get(key, key): value for key, value in values.items()}
    for other, own in cloud.renamed.items():
        if other in environment and own not in environment:
            named.setdefault(own, environment[other])
    config = {key.lower(): value for key, value in named.items()}
    if place.account:
        config["azure_storage_account_name"] = place.account
    if not cloud.identities & {*named, *environment}:
        config[cloud.skip_signature] = "true"
    # Plain http is meant where the address says so, as with a store in the cluster's own network.
    if any({**environment, **named}.get(key, "").startswith("http://") for key in cloud.endpoints):
        config["allow_http"] = "true"
    return config


def check_config(uri: str, cloud: Cloud, config: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Check what the library would not refuse but die of.

    Raises:
        ModelFailure: a value cannot be what its name says; the value is not shown.
    """
    addresses = {key.lower(): environment[key] for key in cloud.endpoints if key in environment}
    for key, value in {**addresses, **config}.items():
        is_json = value.startswith("{")
        bad = not is_json and (not value.isprintable() or value != value.strip())
        if key.upper() in cloud.endpoints:
            bad = bad or re.fullmatch(r"https?://[^/\s]+(/\S*)?", value) is None
        if bad:
            message = f"the credentials for {redacted(uri)} have a value of {key.upper()} that cannot be one"
            raise ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True)
