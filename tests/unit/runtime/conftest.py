"""What tests of the runtime share."""

import pytest
from fleetfit_runtime.serve.float_reader import FloatReader, load_float_reader


@pytest.fixture(scope="session")
def reader() -> FloatReader:
    loaded = load_float_reader()
    if loaded is None:
        pytest.skip("the library was not compiled on this machine")
    return loaded
