"""Attaching providers to a session: those of this build by name, those of plugin libraries by a device.

Shared by the engine and the reference run, as the providers' options are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import onnxruntime

from fleetfit_runtime.provider_options import with_options

_CPU: Final = "CPUExecutionProvider"
# Of a provider with several devices the quickest kind is taken.
_DEVICE_ORDER: Final = ("GPU", "NPU", "CPU")


def available_providers() -> list[str]:
    """Return the providers of this build, and those of plugins that found a device."""
    built_in: list[str] = onnxruntime.get_available_providers()
    plugins = [device.ep_name for device in onnxruntime.get_ep_devices()]
    return list(dict.fromkeys([*built_in, *plugins]))


def attach_providers(
    options: Any,
    chain: Sequence[str],
    intra_op_threads: int,
    further: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Any] | None:
    """Attach a chain to the options of a session.

    Args:
        options: the session's.
        chain: providers that are available, in order.
        intra_op_threads: threads of one inference; 0 leaves the number to each provider.
        further: more options, by provider.

    Returns:
        The providers to name to the session; None where its options bring them, as those of plugins must.
    """
    providers = with_options(chain, intra_op_threads, further)
    built_in = onnxruntime.get_available_providers()
    if all(provider in built_in for provider in chain):
        return providers
    devices = onnxruntime.get_ep_devices()
    for provider in providers:
        name, told = provider if isinstance(provider, tuple) else (provider, {})
        own = [device for device in devices if device.ep_name == name]
        if name not in built_in and own:
            best = min(own, key=lambda device: _DEVICE_ORDER.index(device.device.type.name))
            options.add_provider_for_devices([best], told)
        elif name != _CPU:
            options.add_provider(name, told)
    return None
