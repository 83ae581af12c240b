"""A container's environment from its pod, the config maps and the secrets it refers to.

Pure: the caller has fetched them.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from localfleet.node.expansion import expand
from localfleet.node.fields import field_value, resource_value
from localfleet.node.manifest import Manifest

_VARIABLE_NAME = re.compile(r"^[^=\0]+$")


@dataclass(frozen=True)
class ConfigRef:
    """A config map or a secret that a pod refers to."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    optional: bool = False


class MissingConfigError(LookupError):
    """A config map, a secret or one of its keys that a container needs does not exist."""


@dataclass(frozen=True)
class PodFacts:
    """What an environment is made of besides the container.

    Attributes:
        pod: The pod.
        host_ip: Address of the node, which is the pod's too.
        allocatable: What the node offers, for containers without a limit.
        config: The fetched config maps and secrets, those that exist; values as text.
    """

    pod: Manifest
    host_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


def unchanged(text: str) -> str:
    """Rewrite nothing."""
    return text


def config_refs(container: Manifest) -> Iterator[ConfigRef]:
    """Yield the config maps and secrets that the container's environment refers to."""
    for source in container.get("envFrom") or []:
        if reference := source.get("configMapRef"):
            yield ConfigRef("ConfigMap", reference["name"], bool(reference.get("optional")))
        if reference := source.get("secretRef"):
            yield ConfigRef("Secret", reference["name"], bool(reference.get("optional")))
    for variable in container.get("env") or []:
        value_from = variable.get("valueFrom") or {}
        if reference := value_from.get("configMapKeyRef"):
            yield ConfigRef("ConfigMap", reference["name"], bool(reference.get("optional")))
        if reference := value_from.get("secretKeyRef"):
            yield ConfigRef("Secret", reference["name"], bool(reference.get("optional")))


def config_values(manifest: Manifest) -> dict[str, str]:
    """Return the entries of a config map or secret as text."""
    if manifest.get("kind") == "Secret":
        return {
            key: base64.b64decode(value).decode("utf-8", "surrogateescape")
            for key, value in (manifest.get("data") or {}).items()
        }
    return dict(manifest.get("data") or {})


def container_environment(
    container: Manifest,
    facts: PodFacts,
    inherited: Mapping[str, str],
    rewrite: Callable[[str], str] = unchanged,
) -> dict[str, str]:
    """Return the container's variables on top of the inherited ones.

    Values are rewritten before references in them are expanded, so that what the node itself has set stays as it is.

    Raises:
        MissingConfigError: something that is not optional does not exist.
        UnsupportedFieldError: a field reference that the API does not know.
    """
    variables = dict(inherited)
    for source in container.get("envFrom") or []:
        variables.update((key, rewrite(value)) for key, value in _from_source(source, facts).items())
    for variable in container.get("env") or []:
        if variable.get("valueFrom"):
            value = _referenced_value(variable, container, facts)
            if value is not None:
                variables[variable["name"]] = rewrite(value)
        else:
            variables[variable["name"]] = expand(rewrite(variable.get("value") or ""), variables)
    return variables


def _from_source(source: Manifest, facts: PodFacts) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for kind, name in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        if reference := source.get(name):
            values = _lookup(facts, kind, reference)
            return {
                prefix + key: value for key, value in values.items() if _VARIABLE_NAME.match(prefix + key)
            }
    return {}


def _lookup(facts: PodFacts, kind: str, reference: Manifest) -> Mapping[str, str]:
    values = facts.config.get((kind, reference["name"]))
    if values is not None:
        return values
    if reference.get("optional"):
        return {}
    raise MissingConfigError(f"{kind.lower()} {reference['name']!r} not found")


def _referenced_value(variable: Manifest, container: Manifest, facts: PodFacts) -> str | None:
    value_from = variable["valueFrom"]
    if reference := value_from.get("fieldRef"):
        return field_value(facts.pod, facts.host_ip, reference["fieldPath"])
    if reference := value_from.get("resourceFieldRef"):
        return resource_value(
            container, facts.allocatable, reference["resource"], reference.get("divisor") or 1
        )
    for kind, name in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := value_from.get(name):
            return _key_value(facts, kind, reference)
    raise MissingConfigError(f"variable {variable['name']!r} has a source that this node does not know")


def _key_value(facts: PodFacts, kind: str, reference: Manifest) -> str | None:
    value = _lookup(facts, kind, reference).get(reference["key"])
    if value is None and not reference.get("optional"):
        raise MissingConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
    return value
