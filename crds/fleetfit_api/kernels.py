"""One kernel of a graph at one size, and the short notation in which a suite lists them.

A latency is predicted from what kernels a graph runs, at which sizes and how often. A graph has some ten to some
hundred distinct kernels, a suite up to 64 graphs, and `kubectl apply` keeps the whole object in an annotation of at
most 256 KiB: so a kernel is one line of text instead of a dozen fields. `fleetfit suite build` writes it.

    5/7 Conv fp32 1024x576x64 g1 w9 s1 262144+147456>262144

reads: a Conv in fp32 that runs 5 times and is written 7 times in the file (the others are dead or fused away); 1024
output positions, each a sum of 576 products for each of 64 output channels; 1 group, a window of 9 elements, stride 1;
it reads 262144 bytes of activations and 147456 bytes of weights and writes 262144 bytes.

ONNX Runtime makes other kernels of a graph than it lists: `5/7/6/4` adds that the CPU provider launches 6 and that a
compiler of whole graphs keeps 4. Without these two numbers both are the first.
"""

import re
from typing import Final, NamedTuple, Self

KERNEL_PATTERN: Final = (
    r"^[0-9]+/[0-9]+(/[0-9]+/[0-9]+)? [A-Za-z][A-Za-z0-9_.]* [a-z0-9]+ [0-9]+x[0-9]+x[0-9]+ g[0-9]+ w[0-9]+ s[0-9]+ "
    r"[0-9]+\+[0-9]+>[0-9]+$"
)
_PARTS: Final = re.compile(
    r"(\d+)/(\d+)(?:/(\d+)/(\d+))? (\S+) (\S+) (\d+)x(\d+)x(\d+) g(\d+) w(\d+) s(\d+) (\d+)\+(\d+)>(\d+)",
    re.ASCII,
)


class Kernel(NamedTuple):
    """A kernel at one size.

    Attributes:
        run: How often it runs in one inference; 0 when it is only written.
        written: How often it is written in the file, dead and fused nodes included; 0 for what fusion makes.
        operator: ONNX operator type, with the suffix .depthwise or .pointwise for these convolutions.
        precision: Number format that it computes in, such as fp32 or int8.
        rows: Output positions (pixels, rows of a matrix); elements written for operators without products.
        depth: Products summed up for one output; 0 for operators without products.
        columns: Output channels; 0 for operators without products.
        groups: Groups of a convolution.
        window: Elements of the window of a convolution or pooling.
        stride: Stride, largest of all axes.
        read_bytes: Bytes of activations read.
        weight_bytes: Bytes of weights read.
        write_bytes: Bytes written.
        launched: How often ONNX Runtime's CPU provider launches it; None for as often as it runs.
        compiled: How often it is left where a compiler such as OpenVINO gets the graph; None for as often as it runs.
    """

    run: int
    written: int
    operator: str
    precision: str
    rows: int
    depth: int
    columns: int
    groups: int
    window: int
    stride: int
    read_bytes: int
    weight_bytes: int
    write_bytes: int
    launched: int | None = None
    compiled: int | None = None

    @property
    def uncounted(self) -> Self:
        """The kernel without its counts."""
        return self._replace(run=0, written=0, launched=None, compiled=None)

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates of one run."""
        return self.rows * self.depth * self.columns

    def __str__(self) -> str:
        """Return the notation."""
        both = "" if self.launched is None else f"/{self.launched}/{self.compiled}"
        return (
            f"{self.run}/{self.written}{both} {self.operator} {self.precision} "
            f"{self.rows}x{self.depth}x{self.columns} g{self.groups} w{self.window} s{self.stride} "
            f"{self.read_bytes}+{self.weight_bytes}>{self.write_bytes}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the kernel of a notation.

        Raises:
            ValueError: the text is no such notation; the message quotes it.
        """
        match = _PARTS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no kernel; let `fleetfit suite build` write the features")
        run, written, launched, compiled, operator, precision, *sizes = match.groups()
        kernel = cls(int(run), int(written), operator, precision, *map(int, sizes))
        return kernel if launched is None else kernel._replace(launched=int(launched), compiled=int(compiled))
