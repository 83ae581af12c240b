"""Which local command stands in for which container image on process nodes."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REPOSITORY_ROOT: Final = Path(__file__).parents[1]
OPENVINO_PYTHON_ENV: Final = "FLEETFIT_OPENVINO_PYTHON"

ImageMap = Mapping[str, tuple[str, ...]]


def default_images(env: Mapping[str, str], root: Path = REPOSITORY_ROOT) -> ImageMap:
    """Give the project's own images.

    The OpenVINO image is there when its virtual environment is: that of `make`, or the interpreter that
    FLEETFIT_OPENVINO_PYTHON names.
    """
    images = {
        "fleetfit/operator": (sys.executable, "-m", "fleetfit_operator"),
        "fleetfit/runtime": (sys.executable, "-m", "fleetfit_runtime"),
        "localfleet/model-server": (sys.executable, "-m", "localfleet.demo.model_server"),
    }
    openvino = Path(env.get(OPENVINO_PYTHON_ENV) or root / ".venv-openvino" / "bin" / "python")
    if os.access(openvino, os.X_OK):
        images["fleetfit/runtime-openvino"] = (str(openvino), "-m", "fleetfit_runtime")
    return images
