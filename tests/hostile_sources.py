"""Sources of pictures that do harm to whoever reads them; worker processes can import this."""

import os
import signal
import time
from pathlib import Path

from kaogen.data.inputs.sources import FolderSource


class KillingSource(FolderSource):
    """A folder whose pictures kill their worker: some always, some once, by `flags`.

    `always` are names; `once` are names that kill until their file in `flags` is there.
    """

    def __init__(
        self,
        path: Path,
        flags: Path,
        *,
        always: tuple[str, ...] = (),
        once: tuple[str, ...] = (),
        slow: float = 0.0,
    ) -> None:
        super().__init__(path)
        self.flags, self.always, self.once, self.slow = flags, always, once, slow

    def read(self, name: str) -> bytes:
        time.sleep(self.slow)
        if name in self.once:
            flag = self.flags / name
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if name in self.always:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(name)
