"""Profiles of edge nodes: what a node of some make would say of itself, and how much of this machine it gets.

Profiles are YAML files in `localfleet/profiles`. Labels and resource names have the shapes that Node Feature Discovery,
the device plugins and their labellers give them on real hardware.
"""

from pathlib import Path
from typing import Final, Self, TypeVar

import yaml
from fleetfit_api.quantity import parse_quantity
from fleetfit_training.cpu_quota import shortest_period_us
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROFILES_DIR: Final = Path(__file__).parent.parent / "profiles"
FLEETS_DIR: Final = PROFILES_DIR / "fleets"


class ProfileError(ValueError):
    """A profile or fleet file is missing or wrong; the message says which and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=_Strict)


class NodeInfo(_Strict):
    """What the node reports in `status.nodeInfo`."""

    architecture: str = Field(pattern="^(amd64|arm64|arm)$", description="Architecture as Go names it.")
    os_image: str = Field(description="Name of the operating system.")
    kernel_version: str = Field(description="Release of the kernel.")


class NodeProfile(_Strict):
    """One make of edge node."""

    name: str = Field(
        pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=40, description="Name of the profile."
    )
    description: str = Field(description="Which hardware this is.")
    not_simulated: list[str] = Field(
        min_length=1, description="What the hardware has and a process on this machine does not, honestly."
    )
    node_info: NodeInfo = Field(description="What the node reports of itself.")
    kubelet_labels: dict[str, str] = Field(
        default={}, description="Labels that the kubelet sets besides hostname, architecture and system."
    )
    feature_labels: dict[str, str] = Field(
        default={},
        description="Labels that NFD, device plugins and labellers set with an identity of their own.",
    )
    capacity: dict[str, str] = Field(
        description="Capacity: cpu, memory, ephemeral-storage, extended resources."
    )
    system_reserved: dict[str, str] = Field(
        default={}, description="What capacity has over allocatable, by resource."
    )
    cpu_quota: float = Field(
        gt=0, le=64, description="Cores of this machine that all pods of the node share."
    )

    @model_validator(mode="after")
    def _capacity_is_quantities(self) -> Self:
        for resource in ("cpu", "memory"):
            if resource not in self.capacity:
                raise ValueError(f"capacity lacks {resource}")
        for resource, quantity in [*self.capacity.items(), *self.system_reserved.items()]:
            if parse_quantity(quantity) < 0:
                raise ValueError(f"{resource} is negative")
        return self

    @property
    def cpu_period_us(self) -> int:
        """Period of the CPU quota: as short as the kernel allows, so that a slow node is slow and does not stutter."""
        return shortest_period_us(self.cpu_quota)

    @property
    def allocatable(self) -> dict[str, str]:
        """What pods may use: capacity less what is reserved for the system."""
        return {
            resource: _less(quantity, self.system_reserved.get(resource, "0"))
            for resource, quantity in self.capacity.items()
        }


class FleetNode(_Strict):
    """A node of a fleet."""

    name: str = Field(
        pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63, description="Name of the node."
    )
    profile: str = Field(description="Name of its profile.")


class FleetPlan(_Strict):
    """The nodes of a fleet."""

    description: str = Field(default="", description="What the fleet is for.")
    nodes: list[FleetNode] = Field(min_length=1, max_length=64, description="The nodes.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [node.name for node in self.nodes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two nodes are named {', '.join(twice)}")
        return self


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the fleet."""
    return sorted(path.stem for path in PROFILES_DIR.glob("*.yaml"))


def load_profile(name_or_path: str) -> NodeProfile:
    """Return a profile by its name, or from the file at a path.

    Raises:
        ProfileError: there is no such profile, or its file is wrong.
    """
    path = PROFILES_DIR / f"{name_or_path}.yaml"
    if "/" in name_or_path or name_or_path.endswith(".yaml"):
        path = Path(name_or_path)
    elif not path.is_file():
        raise ProfileError(f"there is no profile {name_or_path!r}; there are {', '.join(profile_names())}")
    return _read(path, NodeProfile)


def load_fleet(name_or_path: str) -> FleetPlan:
    """Return a fleet by its name in `localfleet/profiles/fleets`, or from the file at a path.

    Raises:
        ProfileError: there is no such fleet, its file is wrong, or it names an unknown profile.
    """
    named = FLEETS_DIR / f"{name_or_path}.yaml"
    plan = _read(named if named.is_file() else Path(name_or_path), FleetPlan)
    for profile in {node.profile for node in plan.nodes}:
        load_profile(profile)
    return plan


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ProfileError(f"{path} is wrong: {error}") from error


def _less(capacity: str, reserved: str) -> str:
    if parse_quantity(reserved) == 0:
        return capacity
    left = parse_quantity(capacity) - parse_quantity(reserved)
    # Millicores for CPU, bytes for everything else; both are whole numbers in the API's own writing.
    return str(int(left)) if left == int(left) else f"{round(left * 1000)}m"
