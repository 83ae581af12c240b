"""Many graphs as counts of distinct kernels: what surrogates and cost terms are computed from, all graphs at once.

Knows the notation of kernels and numpy, nothing of devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from fleetfit_api.kernels import Kernel
from fleetfit_api.suite import GraphFeatures

from fleetfit_operator.predict.kernel_groups import FloatArray, KernelArrays


@dataclass(frozen=True, slots=True)
class GraphTable:
    """Graphs as rows.

    Attributes:
        kernels: Figures of the distinct kernels.
        run: How often each kernel runs, by graph and kernel.
        written: How often each is written in the file, by graph and kernel.
        launched: How often ONNX Runtime's CPU provider launches each, by graph and kernel.
        compiled: How often a compiler of whole graphs keeps each, by graph and kernel.
        depth: Nodes on the longest path, by graph.
        weight_bytes: Bytes of the weights, by graph.
        peak_bytes: Bytes of intermediate tensors that are needed at the same time, by graph.
    """

    kernels: KernelArrays
    run: FloatArray
    written: FloatArray
    launched: FloatArray
    compiled: FloatArray
    depth: FloatArray
    weight_bytes: FloatArray
    peak_bytes: FloatArray

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self.depth)

    @classmethod
    def of(cls, features: Sequence[GraphFeatures]) -> "GraphTable":
        """Return the table of some graphs.

        Raises:
            ValueError: a kernel is not in the notation.
        """
        parsed = [each.parsed_kernels for each in features]
        bare = [[kernel.uncounted for kernel in each] for each in parsed]
        kernels: list[Kernel] = sorted(
            {kernel for each in bare for kernel in each}, key=lambda kernel: kernel[:-2]
        )
        position = {kernel: index for index, kernel in enumerate(kernels)}
        run, written, launched, compiled = (np.zeros((len(features), len(kernels))) for _ in range(4))
        for row, (counted, names) in enumerate(zip(parsed, bare, strict=True)):
            for kernel, name in zip(counted, names, strict=True):
                column = position[name]
                run[row, column] = kernel.run
                written[row, column] = kernel.written
                launched[row, column] = kernel.run if kernel.launched is None else kernel.launched
                compiled[row, column] = kernel.run if kernel.compiled is None else kernel.compiled
        return cls(
            kernels=KernelArrays.of(kernels),
            run=run,
            written=written,
            launched=launched,
            compiled=compiled,
            depth=np.array([float(each.depth) for each in features]),
            weight_bytes=np.array([float(each.weight_bytes) for each in features]),
            peak_bytes=np.array([float(each.peak_activation_bytes) for each in features]),
        )

    def rows(self, selected: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "GraphTable":
        """Return some of the graphs."""
        return replace(
            self,
            run=self.run[selected],
            written=self.written[selected],
            launched=self.launched[selected],
            compiled=self.compiled[selected],
            depth=self.depth[selected],
            weight_bytes=self.weight_bytes[selected],
            peak_bytes=self.peak_bytes[selected],
        )
