"""What an error of the node's disk amounts to for a model: a reason and a sentence, and always worth another attempt.

Disks of edge nodes fill up, turn read-only, lose blocks and get pulled; none of it is the fault of a model or a suite.
"""

import errno

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure


def is_disk_full(error: OSError) -> bool:
    """Tell whether an error means that the disk, the quota or the file size limit is exhausted."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_failure(error: OSError, written_bytes: int, size_bytes: int) -> ModelFailure:
    """Return the failure of a model whose file could not be read from or written to the store.

    Args:
        error: what the system said.
        written_bytes: how much of the file was in the store by then.
        size_bytes: the size of the whole file.
    """
    if is_disk_full(error):
        return ModelFailure(
            Reason.DISK_FULL,
            f"the store's disk became full after {written_bytes} of {size_bytes} bytes: "
            f"{size_bytes - written_bytes} bytes are missing",
            transient=True,
        )
    return ModelFailure(
        Reason.INTERNAL_ERROR, f"the model store cannot be read or written: {error}", transient=True
    )
