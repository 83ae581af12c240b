"""Replace this process by a command that the kernel kills as soon as the parent dies.

Run as a script by `localfleet.process.child`, with ``-I -S`` so that it starts in a few milliseconds:
``bound_exec.py PARENT_PID COMMAND [ARGS…]``. It imports nothing of this package. The death signal survives exec but
follows the parent's *thread*: whoever spawns must do so from a thread that lives as long as the process, such as
the main thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before the call, so no signal will come
    try:
        os.execvp(command[0], command)  # noqa: S606 - to become the command is the purpose
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
