"""Tasks that worker processes can import: well-behaved ones, and ones that die."""

import os
import signal
from pathlib import Path

from kaogen.errors import ModelError


def double(parcel: int) -> int:
    return 2 * parcel


def die(parcel: tuple[int, str]) -> int:
    """Double a number; 7 always kills its worker, 5 the first two times it is tried."""
    number, folder = parcel
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        tries = Path(folder) / "tries"
        with tries.open("a") as file:
            file.write("x")
        if tries.stat().st_size < 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def fail(parcel: int) -> int:
    if parcel == 3:
        raise MemoryError("no room")
    return 2 * parcel


def refuse(parcel: int) -> int:
    raise ModelError(f"no model for {parcel}.")
