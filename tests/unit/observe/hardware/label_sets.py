"""Label sets of real nodes, as their owners have shown them, with the facts and the class that they must give.

Each is shortened to what concerns hardware, plus some of what stands beside it. A label set that is put together from a
project's documentation and not from one node says so in its source.
"""

from dataclasses import dataclass, field
from typing import Any

GIB = 2**30
MIB = 2**20

_SHORT = {
    "NFD/": "feature.node.kubernetes.io/",
    "DT/": "beta.devicetree.org/",
    "K8S/": "kubernetes.io/",
}


@dataclass(frozen=True)
class RealNode:
    """A node.

    Attributes:
        name: What it is.
        source: Where its labels were published.
        labels: Words of the form key=value; NFD/, DT/ and K8S/ stand for the usual prefixes.
        facts: Expected fields of NodeHardware; those that are not named are empty.
        hardware_class: Expected class by the chart's rules.
        capacity: Capacity besides processors and memory, and these where they were published.
    """

    name: str
    source: str
    labels: str
    facts: dict[str, Any]
    hardware_class: str
    capacity: dict[str, float] = field(default_factory=dict)

    def label_map(self) -> dict[str, str]:
        """Return the labels with full keys."""
        found = {}
        for word in self.labels.split():
            key, _, value = word.partition("=")
            for short, full in _SHORT.items():
                if key.startswith(short):
                    key = full + key.removeprefix(short)
            found[key] = value
        return found


def gpu(vendor: str, product: str = "", **facts: Any) -> dict[str, Any]:
    return accelerator(vendor, "gpu", product, **facts)


def accelerator(vendor: str, kind: str, product: str = "", **facts: Any) -> dict[str, Any]:
    return {
        "accelerator_vendor": vendor,
        "accelerator_kind": kind,
        "accelerator_product": product,
        **facts,
    }


_VNNI_XEON = ["AVX", "AVX2", "AVX512BW", "AVX512DQ", "AVX512F", "AVX512VL", "AVX512VNNI", "FMA3"]
_AMX_XEON = ["AMXBF16", "AMXINT8", "AMXTILE", "AVX512BF16", "AVX512FP16", *_VNNI_XEON]
_GRACE = [
    *("ASIMD", "ASIMDDP", "ASIMDFHM", "ASIMDHP", "ASIMDRDM"),
    *("BF16", "FCMA", "FPHP", "I8MM", "SVE", "SVE2", "SVEBF16", "SVEI8MM"),
]


def flags(names: list[str]) -> str:
    return " ".join(f"NFD/cpu-cpuid.{name}=true" for name in names)


NVIDIA = [
    RealNode(
        "T4 with NFD alone, class and vendor",
        "NVIDIA/gpu-operator issue 78",
        "K8S/arch=amd64 NFD/pci-0300_1d0f.present=true NFD/pci-0302_10de.present=true",
        {"architecture": "amd64", **gpu("nvidia")},
        "nvidia-gpu",
    ),
    RealNode(
        "T4 with NFD alone, vendor only",
        "alvarolop/rhoai-gitops issue 8",
        "K8S/arch=amd64 NFD/pci-10de.present=true NFD/pci-1d0f.present=true",
        {"architecture": "amd64", **gpu("nvidia")},
        "nvidia-gpu",
    ),
    RealNode(
        "K80 with GFD 0.7: only the deprecated labels of the driver",
        "documentation of a minikube set-up (cisco-open/flame), GFD's own example output",
        """K8S/arch=amd64 nvidia.com/cuda.driver.major=470 nvidia.com/cuda.driver.minor=57 nvidia.com/cuda.driver.rev=02
        nvidia.com/cuda.runtime.major=11 nvidia.com/cuda.runtime.minor=4 nvidia.com/gfd.timestamp=1672792567
        nvidia.com/gpu.compute.major=3 nvidia.com/gpu.compute.minor=7 nvidia.com/gpu.count=1
        nvidia.com/gpu.family=kepler nvidia.com/gpu.machine=HVM-domU nvidia.com/gpu.memory=11441
        nvidia.com/gpu.product=Tesla-K80 nvidia.com/gpu.replicas=1 nvidia.com/mig.capable=false""",
        {
            "architecture": "amd64",
            **gpu("nvidia", "Tesla-K80", accelerator_count=1, accelerator_memory_bytes=11441 * MIB),
            "compute_capability": "3.7",
            "driver_version": "470.57.02",
        },
        "nvidia-gpu",
        {"nvidia.com/gpu": 1},
    ),
    RealNode(
        "8 x H100 with the GPU operator",
        "NVIDIA/k8s-device-plugin issue 1501",
        """K8S/arch=amd64 nvidia.com/gpu.count=8 nvidia.com/gpu.deploy.device-plugin=true nvidia.com/gpu.family=hopper
        nvidia.com/gpu.machine=PowerEdge-XE9680 nvidia.com/gpu.memory=81559 nvidia.com/gpu.mode=compute
        nvidia.com/gpu.present=true nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3 nvidia.com/gpu.replicas=1
        nvidia.com/mig.capable=true nvidia.com/mig.config=all-disabled""",
        {
            "architecture": "amd64",
            **gpu("nvidia", "NVIDIA-H100-80GB-HBM3", accelerator_count=8),
            "accelerator_memory_bytes": 81559 * MIB,
        },
        "nvidia-gpu",
        {"nvidia.com/gpu": 8},
    ),
    RealNode(
        "A100 cut into MIG devices, strategy mixed",
        "Mellanox/network-operator issue 211",
        """K8S/arch=amd64 nvidia.com/gpu.family=ampere nvidia.com/gpu.machine=AS--4124GS-TNR nvidia.com/gpu.memory=40536
        nvidia.com/gpu.present=true nvidia.com/gpu.product=A100-PCIE-40GB nvidia.com/mig-1g.5gb.count=4
        nvidia.com/mig-1g.5gb.engines.copy=1 nvidia.com/mig-1g.5gb.memory=4864
        nvidia.com/mig-1g.5gb.multiprocessors=14 nvidia.com/mig-1g.5gb.slices.gi=1 nvidia.com/mig-2g.10gb.count=2
        nvidia.com/mig-2g.10gb.memory=9984 nvidia.com/mig.strategy=mixed""",
        {
            "architecture": "amd64",
            **gpu("nvidia", "A100-PCIE-40GB-MIG-2g.10gb", accelerator_count=2),
            "accelerator_memory_bytes": 9984 * MIB,
        },
        "nvidia-gpu",
        {"nvidia.com/gpu": 0, "nvidia.com/mig-1g.5gb": 4, "nvidia.com/mig-2g.10gb": 2},
    ),
    RealNode(
        "two GPUs whole and two cut: the whole ones are the stronger",
        "NVIDIA/gpu-operator issue 637",
        "K8S/arch=amd64 nvidia.com/gpu.present=true",
        {
            "architecture": "amd64",
            **gpu("nvidia", accelerator_count=2),
            "cpu_cores": 64.0,
            "memory_bytes": 519659388 * 1024,
        },
        "nvidia-gpu",
        {
            "cpu": 64,
            "memory": 519659388 * 1024,
            "nvidia.com/gpu": 2,
            "nvidia.com/mig-1g.10gb": 6,
            "nvidia.com/mig-2g.20gb": 4,
            "nvidia.com/mig-3g.40gb": 0,
        },
    ),
    RealNode(
        "A100 with MIG, strategy single: GFD already describes one MIG device",
        "NVIDIA/gpu-operator issue 981 (count and product by GFD's naming)",
        """K8S/arch=amd64 NFD/pci-8086.sriov.capable=true NFD/cpu-cpuid.AESNI=true nvidia.com/cuda.runtime.major=12
        nvidia.com/cuda.runtime.minor=4 nvidia.com/gpu.machine=PowerEdge-R7525 nvidia.com/gpu.memory=4864
        nvidia.com/gpu.engines.decoder=0 nvidia.com/gpu.family=ampere nvidia.com/gpu.sharing-strategy=none
        nvidia.com/mig.capable=true nvidia.com/mig.config=all-1g.5gb nvidia.com/mig.strategy=single
        nvidia.com/gpu.count=14 nvidia.com/gpu.product=NVIDIA-A100-PCIE-40GB-MIG-1g.5gb nvidia.com/gpu.present=true""",
        {
            "architecture": "amd64",
            **gpu("nvidia", "NVIDIA-A100-PCIE-40GB-MIG-1g.5gb", accelerator_count=14),
            "accelerator_memory_bytes": 4864 * MIB,
        },
        "nvidia-gpu",
        {"nvidia.com/gpu": 14},
    ),
    RealNode(
        "MIG layout that GFD cannot name",
        "NVIDIA/gpu-operator issue 479 (GFD then writes zeros)",
        """K8S/arch=amd64 nvidia.com/gpu.present=true nvidia.com/gpu.product=NVIDIA-A100-SXM4-80GB-MIG-INVALID
        nvidia.com/gpu.count=0 nvidia.com/gpu.memory=0 nvidia.com/gpu.replicas=0""",
        {"architecture": "amd64", **gpu("nvidia", "NVIDIA-A100-SXM4-80GB")},
        "nvidia-gpu",
    ),
    RealNode(
        "MIG devices that the labels name otherwise than the resources",
        "NVIDIA/gpu-feature-discovery issue 7",
        """K8S/arch=amd64 nvidia.com/mig-3g.21gb.count=16 nvidia.com/mig-3g.21gb.memory=20096
        nvidia.com/mig-3g.21gb.multiprocessors=42 nvidia.com/mig.strategy=mixed
        nvidia.com/gpu.product=A100-SXM4-40GB""",
        {"architecture": "amd64", **gpu("nvidia", "A100-SXM4-40GB-MIG-3g.20gb", accelerator_count=16)},
        "nvidia-gpu",
        {"nvidia.com/mig-3g.20gb": 16},
    ),
    RealNode(
        "MIG and time slicing, under another resource",
        "bottlerocket-os/bottlerocket pull request 4418",
        "K8S/arch=amd64",
        {"architecture": "amd64", **gpu("nvidia"), "cpu_cores": 192.0, "memory_bytes": 2097096404 * 1024},
        "nvidia-gpu",
        {"cpu": 192, "memory": 2097096404 * 1024, "nvidia.com/gpu": 0, "nvidia.com/gpu.shared": 128},
    ),
    RealNode(
        "time slicing on a cloud node with NFD and GFD",
        "opencost/opencost pull request 2862 (names of the labels; values as GFD writes them for a T4)",
        flags(_VNNI_XEON)
        + """ K8S/arch=amd64 NFD/cpu-cpuid.ADX=true NFD/cpu-cpuid.HYPERVISOR=true
        NFD/cpu-model.family=6 NFD/cpu-model.id=85 NFD/cpu-model.vendor_id=Intel
        nvidia.com/cuda.driver-version.full=535.183.01 nvidia.com/cuda.driver-version.major=535
        nvidia.com/cuda.driver-version.minor=183 nvidia.com/cuda.driver-version.revision=01
        nvidia.com/cuda.driver.major=535 nvidia.com/cuda.driver.minor=183 nvidia.com/cuda.driver.rev=01
        nvidia.com/gpu.count=1 nvidia.com/gpu.replicas=10 nvidia.com/gpu.product=Tesla-T4-SHARED
        nvidia.com/gpu.memory=15360 nvidia.com/gpu.compute.major=7 nvidia.com/gpu.compute.minor=5
        nvidia.com/gpu.sharing-strategy=time-slicing""",
        {
            "architecture": "amd64",
            "processor": "Intel family 6 model 85",
            "instruction_sets": _VNNI_XEON,
            **gpu("nvidia", "Tesla-T4", accelerator_count=1, accelerator_memory_bytes=15360 * MIB),
            "compute_capability": "7.5",
            "driver_version": "535.183.01",
        },
        "nvidia-gpu",
        {"nvidia.com/gpu": 10},
    ),
    RealNode(
        "GPU with the device plugin and no label at all",
        "podman-desktop/podman-desktop issue 7778",
        "K8S/arch=amd64",
        {
            "architecture": "amd64",
            **gpu("nvidia", accelerator_count=1),
            "cpu_cores": 16.0,
            "memory_bytes": 32777408 * 1024,
        },
        "nvidia-gpu",
        {"cpu": 16, "memory": 32777408 * 1024, "nvidia.com/gpu": 1},
    ),
    RealNode(
        "GFD started before the driver",
        "NVIDIA/gpu-feature-discovery issue 75",
        """K8S/arch=amd64 NFD/pci-10de.present=true nvidia.com/gpu.present=true
        nvidia.com/gpu.deploy.gpu-feature-discovery=true nvidia.com/gfd.timestamp=1715650000""",
        {"architecture": "amd64", **gpu("nvidia")},
        "nvidia-gpu",
    ),
    RealNode(
        "Grace server: arm64 with an NVIDIA card, yet no Jetson; network cards of Intel beside it",
        "a write-up of OpenShift 4.21 on Grace (NVIDIA network operator)",
        "K8S/arch=arm64 "
        + flags(_GRACE)
        + """ NFD/cpu-cpuid.ATOMICS=true NFD/cpu-model.family=15 NFD/cpu-model.id=54512 NFD/cpu-model.vendor_id=ARM
        NFD/kernel-version.full=6.12.0-211.4.el10nv.aarch64_64k NFD/pci-10de.present=true NFD/pci-15b3.present=true
        NFD/pci-1a03.present=true NFD/pci-8086.present=true nvidia.com/gpu.present=true nvidia.com/gpu.deploy.nvsm=""",
        {
            "architecture": "arm64",
            "processor": "ARM Neoverse-V2",
            "instruction_sets": _GRACE,
            **gpu("nvidia"),
        },
        "nvidia-gpu",
    ),
]

JETSON = [
    RealNode(
        "Jetson Nano with the device tree labeller",
        "adaptant-labs/k8s-dt-node-labeller README",
        "K8S/arch=arm64 DT/nvidia-jetson-nano=1 DT/nvidia-tegra210=1",
        {
            "architecture": "arm64",
            "board": "nvidia-jetson-nano",
            **gpu("nvidia", "Tegra-X1", accelerator_count=1, compute_capability="5.3"),
        },
        "nvidia-jetson",
    ),
    RealNode(
        "Jetson Nano whose labeller was told to add the GPU and the fan",
        "adaptant-labs/k8s-dt-node-labeller README",
        """K8S/arch=arm64 DT/nvidia-jetson-nano=1 DT/nvidia-tegra210=1 DT/nvidia-tegra210-gm20b=1 DT/nvidia-gm20b=1
        DT/pwm-fan=1""",
        {
            "architecture": "arm64",
            "board": "nvidia-jetson-nano",
            **gpu("nvidia", "Tegra-X1", accelerator_count=1, compute_capability="5.3"),
        },
        "nvidia-jetson",
        {"nvidia.com/gpu": 1},
    ),
    RealNode(
        "Jetson Nano with an NFD that does not know the core",
        "smarter-project/smarter-device-manager issue 13",
        """K8S/arch=arm64 beta.kubernetes.io/instance-type=k3s NFD/cpu-cpuid.AES=true NFD/cpu-cpuid.ASIMD=true
        NFD/cpu-cpuid.CRC32=true NFD/cpu-cpuid.FP=true NFD/cpu-hardware_multithreading=false NFD/cpu-model.family=0
        NFD/cpu-model.id=0 NFD/cpu-model.vendor_id=VendorUnknown NFD/kernel-config.NO_HZ=true""",
        {"architecture": "arm64", "instruction_sets": ["ASIMD"]},
        "arm64-cpu",
        {"smarter-devices/snd": 20},
    ),
    RealNode(
        "Jetson Nano with JetPack 4.6 and NFD: the kernel tells",
        "kernel of NVIDIA/k8s-device-plugin issue 377, as NFD writes it",
        "K8S/arch=arm64 NFD/cpu-model.family=15 NFD/cpu-model.id=53361 NFD/cpu-model.vendor_id=ARM "
        "NFD/kernel-version.full=4.9.299-tegra",
        {
            "architecture": "arm64",
            "processor": "ARM Cortex-A57",
            "board": "nvidia-tegra",
            **gpu("nvidia", accelerator_count=1),
        },
        "arm64-cpu",
    ),
    RealNode(
        "Jetson Orin Nano with JetPack 6 and NFD",
        "kernel of NVIDIA/NemoClaw issue 404, as NFD writes it",
        "K8S/arch=arm64 NFD/cpu-model.family=15 NFD/cpu-model.id=54305 NFD/cpu-model.vendor_id=ARM "
        "NFD/kernel-version.full=5.15.148-tegra",
        {
            "architecture": "arm64",
            "processor": "ARM Cortex-A78AE",
            "board": "nvidia-tegra",
            **gpu("nvidia", "Orin", accelerator_count=1, compute_capability="8.7"),
        },
        "nvidia-jetson-orin",
    ),
    RealNode(
        "Jetson Orin Nano with the device plugin alone",
        "NVIDIA/gpu-operator issue 1453",
        "K8S/arch=arm64 beta.kubernetes.io/instance-type=k3s nvidia.com/gpu.present=true",
        {"architecture": "arm64", **gpu("nvidia", accelerator_count=1)},
        "nvidia-gpu",
        {"nvidia.com/gpu": 1},
    ),
    RealNode(
        "Jetson Orin with GFD's tegra mode",
        "NVIDIA/k8s-device-plugin, tegra resource manager (CUDA names the GPU and its capability)",
        """K8S/arch=arm64 nvidia.com/gpu.product=Orin nvidia.com/gpu.compute.major=8 nvidia.com/gpu.compute.minor=7
        nvidia.com/gpu.memory=7620 nvidia.com/gpu.count=1 nvidia.com/gpu.family=ampere nvidia.com/gpu.machine=Jetson""",
        {
            "architecture": "arm64",
            **gpu("nvidia", "Orin", accelerator_count=1, accelerator_memory_bytes=7620 * MIB),
            "compute_capability": "8.7",
        },
        "nvidia-jetson-orin",
        {"nvidia.com/gpu": 1},
    ),
    RealNode(
        "Jetson Xavier: cores of NVIDIA's own make, which its device plugin's chart looks for",
        "NVIDIA/k8s-device-plugin chart, node affinity; id of Carmel",
        "K8S/arch=arm64 NFD/cpu-model.vendor_id=NVIDIA NFD/cpu-model.family=15 NFD/cpu-model.id=64",
        {
            "architecture": "arm64",
            "processor": "NVIDIA family 15 model 64",
            **gpu("nvidia", "Xavier", accelerator_count=1, compute_capability="7.2"),
        },
        "nvidia-jetson",
    ),
]

INTEL = [
    RealNode(
        "NUC of the 12th generation with the GPU plugin's rules",
        "intel/intel-device-plugins-for-kubernetes issue 1826",
        """beta.kubernetes.io/arch=amd64 K8S/arch=amd64 gpu.intel.com/device-id.0300-46a6.count=1
        gpu.intel.com/device-id.0300-46a6.present=true intel.feature.node.kubernetes.io/gpu=true
        node.kubernetes.io/instance-type=k3s node-type=worker""",
        {"architecture": "amd64", **gpu("intel", "device-46a6", accelerator_count=1)},
        "intel-npu-gpu",
    ),
    RealNode(
        "GPU plugin that found no GPU: an N5100 whose kernel lacks the driver",
        "intel/intel-device-plugins-for-kubernetes issue 1514",
        "K8S/arch=amd64 NFD/pci-0300_8086.present=true",
        {"architecture": "amd64"},
        "generic-cpu",
        {"gpu.intel.com/i915": 0},
    ),
    RealNode(
        "integrated graphics that five pods share",
        "intel/intel-device-plugins-for-kubernetes issue 1915 (once it worked)",
        "K8S/arch=amd64 intel.feature.node.kubernetes.io/gpu=true",
        {"architecture": "amd64", **gpu("intel")},
        "intel-npu-gpu",
        {"gpu.intel.com/i915": 5, "gpu.intel.com/i915_monitoring": 0},
    ),
    RealNode(
        "four Max 1100 cards",
        "test data of a scheduler (labels of Intel's NFD rules and the plugin's resource)",
        "K8S/arch=amd64 gpu.intel.com/product=Max_1100 gpu.intel.com/family=Max_Series gpu.intel.com/device.count=4 "
        "NFD/pci-0380_8086.present=true",
        {"architecture": "amd64", **gpu("intel", "Max_1100", accelerator_count=4)},
        "intel-npu-gpu",
        {"gpu.intel.com/i915": 4},
    ),
    RealNode(
        "Arc B580 with the xe driver",
        "SkyPilot's documentation of Intel GPUs",
        "K8S/arch=amd64 gpu.intel.com/product=Arc_B580",
        {"architecture": "amd64", **gpu("intel", "Arc_B580", accelerator_count=1)},
        "intel-npu-gpu",
        {"gpu.intel.com/xe": 1},
    ),
    RealNode(
        "Core Ultra with both plugins, each device shared by ten",
        "open-edge-platform/edge-ai-suites pull request 3010",
        """K8S/arch=amd64 intel.feature.node.kubernetes.io/gpu=true intel.feature.node.kubernetes.io/npu=true
        NFD/pci-1200_8086.present=true NFD/pci-0300_8086.present=true""",
        {"architecture": "amd64", **gpu("intel")},
        "intel-npu-gpu",
        {"gpu.intel.com/i915": 10, "npu.intel.com/accel": 10},
    ),
    RealNode(
        "Core Ultra with the NPU plugin alone",
        "intel/intel-device-plugins-for-kubernetes NPU plugin README",
        "K8S/arch=amd64 NFD/pci-1200_8086.present=true",
        {"architecture": "amd64", **accelerator("intel", "npu", accelerator_count=1)},
        "intel-npu-gpu",
        {"npu.intel.com/accel": 10},
    ),
    RealNode(
        "server whose processing accelerator is an FPGA card with virtual functions, no NPU",
        "OPNFV documentation of node features",
        """K8S/arch=amd64 NFD/cpu-cpuid.AVX512VPOPCNTDQ=true NFD/network-sriov.capable=true
        NFD/pci-1200_8086.sriov.capable=true NFD/pci-1200_8086.present=true""",
        {"architecture": "amd64"},
        "generic-cpu",
    ),
    RealNode(
        "Xeon of the 4th generation",
        "vllm-project/vllm issue 3564 (the end of its list by the processor's flags)",
        "K8S/arch=amd64 NFD/cpu-cpuid.ADX=true NFD/cpu-cpuid.AESNI=true NFD/cpu-cpuid.AVX512IFMA=true "
        + flags(_AMX_XEON),
        {"architecture": "amd64", "instruction_sets": sorted(_AMX_XEON)},
        "x86-avx512-vnni",
    ),
]

AMD = [
    RealNode(
        "8 x R9600D with the labeller's new labels; the family is missing",
        "ROCm/k8s-device-plugin pull request 190",
        """K8S/arch=amd64 amd.com/gpu.cu-count=64 amd.com/gpu.device-id=7551 amd.com/gpu.driver-version=6.19.4
        amd.com/gpu.product-name=AMD_Radeon_Graphics amd.com/gpu.simd-count=128 amd.com/gpu.vram=32G""",
        {
            "architecture": "amd64",
            **gpu("amd", "AMD_Radeon_Graphics", accelerator_count=8, accelerator_memory_bytes=32 * GIB),
            "driver_version": "6.19.4",
        },
        "amd-gpu",
        {"amd.com/gpu": 8},
    ),
    RealNode(
        "8 x MI300X with labels of both forms",
        "Red Hat's documentation of the AMD GPU operator",
        """K8S/arch=amd64 amd.com/gpu.cu-count=304 amd.com/gpu.device-id=74b5 amd.com/gpu.driver-version=6.12.12
        amd.com/gpu.family=AI amd.com/gpu.simd-count=1216 amd.com/gpu.vram=191G beta.amd.com/gpu.cu-count=304
        beta.amd.com/gpu.cu-count.304=8 beta.amd.com/gpu.device-id=74b5 beta.amd.com/gpu.device-id.74b5=8
        beta.amd.com/gpu.family=AI beta.amd.com/gpu.family.AI=8 beta.amd.com/gpu.simd-count=1216
        beta.amd.com/gpu.simd-count.1216=8 beta.amd.com/gpu.vram=191G beta.amd.com/gpu.vram.191G=8
        NFD/amd-gpu=true""",
        {
            "architecture": "amd64",
            **gpu("amd", "device-74b5", accelerator_count=8, accelerator_memory_bytes=191 * GIB),
            "driver_version": "6.12.12",
        },
        "amd-gpu",
        {"amd.com/gpu": 8},
    ),
    RealNode(
        "Vega with the labeller's old labels alone",
        "kubernetes/website, scheduling of GPUs",
        """K8S/arch=amd64 beta.amd.com/gpu.cu-count.64=1 beta.amd.com/gpu.device-id.6860=1 beta.amd.com/gpu.family.AI=1
        beta.amd.com/gpu.simd-count.256=1 beta.amd.com/gpu.vram.16G=1""",
        {
            "architecture": "amd64",
            **gpu("amd", "device-6860", accelerator_count=1, accelerator_memory_bytes=16 * GIB),
        },
        "amd-gpu",
    ),
    RealNode(
        "integrated Vega 8 of a Ryzen, labelled and not offered",
        "ROCm/k8s-device-plugin issue 42",
        "K8S/arch=amd64 beta.amd.com/gpu.device-id.1638=1 beta.amd.com/gpu.family.RV=1 beta.amd.com/gpu.vram.1G=1",
        {
            "architecture": "amd64",
            **gpu("amd", "device-1638", accelerator_count=1, accelerator_memory_bytes=GIB),
        },
        "generic-cpu",
    ),
    RealNode(
        "Ryzen AI Max with a large part of its memory given to the GPU",
        "a home cluster's notes (Talos, ROCm device plugin and labeller)",
        "K8S/arch=amd64 amd.com/gpu.product-name=AMD_Radeon_8060S_Graphics amd.com/gpu.vram=64G",
        {
            "architecture": "amd64",
            **gpu("amd", "AMD_Radeon_8060S_Graphics", accelerator_count=1),
            "accelerator_memory_bytes": 64 * GIB,
        },
        "amd-gpu",
        {"amd.com/gpu": 1},
    ),
    RealNode(
        "AMD graphics with NFD for vendors alone: integrated or not, the label does not tell",
        "redhat-et/GKM pull request 107",
        "K8S/arch=amd64 NFD/pci-1002.present=true " + flags(_VNNI_XEON),
        {"architecture": "amd64", "instruction_sets": _VNNI_XEON},
        "x86-avx512-vnni",
    ),
]

OTHERS = [
    RealNode(
        "Raspberry Pi 4 with Ubuntu and NFD",
        "kubearmor/KubeArmor issue 1967",
        """beta.kubernetes.io/arch=arm64 K8S/arch=arm64 NFD/cpu-cpuid.ASIMD=true NFD/cpu-cpuid.CPUID=true
        NFD/cpu-cpuid.CRC32=true NFD/cpu-cpuid.EVTSTRM=true NFD/cpu-cpuid.FP=true
        NFD/cpu-hardware_multithreading=false NFD/cpu-model.family=15 NFD/cpu-model.id=53379
        NFD/cpu-model.vendor_id=ARM NFD/kernel-config.PREEMPT=true NFD/kernel-version.full=5.15.0-1061-raspi
        NFD/kernel-version.major=5 NFD/kernel-version.minor=15""",
        {
            "architecture": "arm64",
            "processor": "ARM Cortex-A72",
            "instruction_sets": ["ASIMD"],
            "board": "raspberrypi",
        },
        "arm64-cpu",
    ),
    RealNode(
        "Raspberry Pi 4 with the device tree labeller",
        "compatible strings of the board's device tree",
        "K8S/arch=arm64 DT/raspberrypi-4-model-b=1 DT/brcm-bcm2711=1",
        {"architecture": "arm64", "board": "raspberrypi-4-model-b"},
        "arm64-raspberry-pi",
    ),
    RealNode(
        "Raspberry Pi 5 with an AI HAT",
        "gllm-dev/hailo-device-plugin README; compatible strings of the board's device tree",
        "K8S/arch=arm64 DT/raspberrypi-5-model-b=1 DT/brcm-bcm2712=1",
        {
            "architecture": "arm64",
            "board": "raspberrypi-5-model-b",
            **accelerator("hailo", "npu", "Hailo-8L", accelerator_count=1),
        },
        "arm64-raspberry-pi",
        {"hailo.ai/h8l": 1},
    ),
    RealNode(
        "k3s worker with no labeller",
        "kubernetes-sigs/descheduler issue 1240",
        """beta.kubernetes.io/arch=amd64 beta.kubernetes.io/instance-type=k3s K8S/arch=amd64 K8S/os=linux
        node-role.kubernetes.io/worker=worker node.kubernetes.io/instance-type=k3s""",
        {"architecture": "amd64", "cpu_cores": 4.0, "memory_bytes": 8 * GIB},
        "generic-cpu",
        {"cpu": 4, "memory": 8 * GIB},
    ),
    RealNode(
        "node of a Kubernetes older than kubernetes.io/arch",
        "kubernetes/kops issue 2493",
        "beta.kubernetes.io/arch=amd64 beta.kubernetes.io/instance-type=p2.xlarge kubernetes.io/role=node",
        {"architecture": "amd64"},
        "generic-cpu",
    ),
    RealNode(
        "Coral stick before its firmware is loaded",
        "adaptant-labs/k8s-auto-labeller README",
        "K8S/arch=amd64 NFD/usb-fe_1a6e_089a.present=true",
        {"architecture": "amd64", **accelerator("google", "tpu", "Edge-TPU")},
        "generic-cpu",
    ),
    RealNode(
        "Coral stick after its firmware was loaded, and a serial adapter",
        "a home cluster's incident notes",
        "K8S/arch=amd64 NFD/usb-ff_10c4_ea60.present=true NFD/usb-ff_18d1_9302.present=true",
        {"architecture": "amd64", **accelerator("google", "tpu", "Edge-TPU")},
        "generic-cpu",
    ),
    RealNode(
        "Coral board on PCI",
        "adaptant-labs/k8s-auto-labeller README",
        "K8S/arch=amd64 NFD/pci-0880_1ac1.present=true kkohtaka.org/edgetpu=1",
        {"architecture": "amd64", **accelerator("google", "tpu", "Edge-TPU")},
        "generic-cpu",
    ),
    RealNode(
        "Coral Dev Board",
        "adaptant-labs/k8s-auto-labeller README",
        "K8S/arch=arm64 DT/fsl-imx8mq-phanbell=1 DT/fsl-imx8mq=1",
        {
            "architecture": "arm64",
            "board": "fsl-imx8mq-phanbell",
            **accelerator("google", "tpu", "Edge-TPU", accelerator_count=1),
        },
        "arm64-cpu",
    ),
    RealNode(
        "Rock 5B: the chip has an NPU",
        "compatible strings of the board's device tree",
        "K8S/arch=arm64 DT/radxa-rock-5b=1 DT/rockchip-rk3588=1 DT/rockchip-rk3588-rknn-core=1",
        {
            "architecture": "arm64",
            "board": "radxa-rock-5b",
            **accelerator("rockchip", "npu", "RK3588", accelerator_count=1),
        },
        "arm64-cpu",
    ),
    RealNode(
        "server with Atlas 300I cards",
        "Huawei MindCluster documentation, kubectl describe node ubuntu",
        "accelerator=huawei-Ascend310 beta.kubernetes.io/arch=amd64 host-arch=huawei-x86 "
        "workerselector=dls-worker-node",
        {
            "architecture": "amd64",
            **accelerator("huawei", "npu", "Ascend310", accelerator_count=4),
            "cpu_cores": 72.0,
        },
        "generic-cpu",
        {"cpu": 72, "huawei.com/Ascend310": 4},
    ),
    RealNode(
        "node that was labelled for Ascend and whose plugin does not run yet",
        "a guide to Ascend's plugin in kind",
        "K8S/arch=arm64 accelerator=huawei-Ascend310P",
        {"architecture": "arm64", **accelerator("huawei", "npu", "Ascend310P")},
        "arm64-cpu",
    ),
    RealNode(
        "devices that Akri and a generic plugin offer and that are no accelerators",
        "project-akri/akri issue 722, squat/generic-device-plugin issue 22",
        "beta.kubernetes.io/arch=amd64 K8S/arch=amd64 minikube.k8s.io/primary=true",
        {"architecture": "amd64"},
        "generic-cpu",
        {"akri.sh/akri-udev-e4c669": 1, "akri.sh/zeroconf-8e12f9": 2, "squat.ai/serial": 1},
    ),
    RealNode(
        "GPUs whose names are labels' keys by hand",
        "akash-network/community issue 608",
        """AMD=true NVIDIA-GTX-1660-TI=true akash.network=true K8S/arch=amd64
        akash.network/capabilities.gpu.vendor.nvidia.model.rtx1660ti=1""",
        {"architecture": "amd64"},
        "generic-cpu",
    ),
]

REAL_NODES = [*NVIDIA, *JETSON, *INTEL, *AMD, *OTHERS]
