"""The model file `NAME.kaogen`: one stored zip that holds all that drawing needs.

::

    model.json       the manifest (manifest.py): vocabulary, sizes, truncation, provenance, hashes
    mapping.onnx     z [n, z_dim], labels [n, L] -> w [n, w_dim]
    synthesis.onnx   ws [1, num_ws, w_dim] -> image [1, C, H, W] in about [-1, 1]
    labels.bin       the training set's label rows, one bit per tag, for `fill.py`
    card.md          on what, how long and how good, in words

Bundles come from strangers. They are read without unpacking to disk: exactly these five names,
stored (so no bombs), bounded, every hash checked, and graphs that point at other files refused.
"""

import hashlib
import json
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from kaogen.errors import BundleError, ModelNotFoundError
from kaogen.studio.manifest import MAX_BUNDLE, PAYLOAD, Manifest
from kaogen.tags import Vocabulary

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

SUFFIX = ".kaogen"
MODELS = Path(__file__).parents[1] / "models"
MANIFEST = "model.json"
MAX_MANIFEST = 4 << 20
# Fixed, not "all cores": how a sum is split decides its rounding, and pictures must not depend
# on the machine's size. Larger machines draw several pictures at once instead. A small picture
# waits longer for a second thread than that one saves it: 5.5 ms at 64 px, and 4.6 with one.
THREADS = 2
SMALL = 64  # pixels


def threads_for(resolution: int) -> int:
    """Threads that draw one picture of so many pixels."""
    return 1 if resolution <= SMALL else THREADS


class Bundle:
    """An opened model file. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, payload: Mapping[str, bytes], path: Path) -> None:
        self.manifest = manifest
        self.path = path
        self._payload = dict(payload)
        self.vocabulary = Vocabulary([tag.name for tag in manifest.tags])
        self.learnt = frozenset(tag.name for tag in manifest.tags if tag.learnt)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Read and check a model file.

        Raises ModelNotFoundError when it is not there, BundleError when it is not sound.
        """
        file = Path(path)
        if not file.is_file():
            raise ModelNotFoundError(f"there is no model at {file}")
        try:
            contents = _read(file)
            manifest = Manifest.model_validate_json(contents.pop(MANIFEST))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or MANIFEST
            raise BundleError(f"{file}: {MANIFEST}: {where}: {first['msg']}") from error
        except (OSError, ValueError, RuntimeError, EOFError, struct.error) as error:
            raise BundleError(f"{file} is not a sound model file: {error}") from error
        except zipfile.BadZipFile as error:
            raise BundleError(f"{file} is not a model file: {error}") from error
        _check_payload(file, manifest, contents)
        return cls(manifest, contents, file)

    @property
    def id(self) -> str:
        """The name and content hash that recipes carry."""
        return self.manifest.id

    def entry(self, name: str) -> bytes:
        """One file of the payload as it is stored: "synthesis.onnx", say."""
        return self._payload[name]

    @cached_property
    def card(self) -> str:
        """The model card, in Markdown."""
        return self._payload["card.md"].decode("utf-8", errors="replace")

    @cached_property
    def labels(self) -> Bits:
        """The training set's label rows, bool [count, L]."""
        table = self.manifest.labels
        packed = np.frombuffer(self._payload["labels.bin"], np.uint8)
        rows = packed.reshape(table.count, table.bytes_per_row)
        return np.unpackbits(rows, axis=1, count=len(self.vocabulary)).astype(np.bool_)

    def map(self, z: Floats, labels: Floats) -> Floats:
        """z [n, z_dim] and labels [n, L] -> w [n, w_dim]."""
        w: Floats = self._mapping.run(["w"], {"z": z, "labels": labels})[0]
        return w

    def synthesise(self, w: Floats) -> Pixels:
        """w [w_dim] -> uint8 [H, W, C]; always one at a time, so that the bytes never differ."""
        shape = (1, self.manifest.num_ws, self.manifest.w_dim)
        ws = np.ascontiguousarray(np.broadcast_to(w, shape), dtype=np.float32)
        image: Floats = self._synthesis.run(["image"], {"ws": ws})[0]
        if not np.isfinite(image).all():
            raise BundleError(f"{self.path}: the network gives numbers that are not finite")
        return to_pixels(image[0])

    @cached_property
    def _mapping(self) -> Any:
        m = self.manifest
        shapes = {"z": [m.z_dim], "labels": [len(m.tags)], "w": [m.w_dim]}
        return self._session("mapping.onnx", shapes)

    @cached_property
    def _synthesis(self) -> Any:
        m = self.manifest
        shapes = {"ws": [m.num_ws, m.w_dim], "image": list(m.image_shape)}
        return self._session("synthesis.onnx", shapes)

    def _session(self, name: str, shapes: Mapping[str, Sequence[int]]) -> Any:
        """Load a graph and compare its inputs and outputs, past the batch axis, with `shapes`."""
        threads = threads_for(self.manifest.resolution)
        session = open_graph(self._payload[name], f"{self.path}: {name}", threads)
        found = {
            value.name: list(value.shape[1:])
            for value in (*session.get_inputs(), *session.get_outputs())
        }
        if found != {key: list(shape) for key, shape in shapes.items()}:
            raise BundleError(f"{self.path}: {name} does not fit {MANIFEST}: it has {found}")
        return session


def to_pixels(image: Floats) -> Pixels:
    """[C, H, W] in about [-1, 1] -> uint8 [H, W, C]."""
    grey: Pixels = np.rint(np.clip(image * 127.5 + 127.5, 0, 255)).astype(np.uint8)
    return grey.transpose(1, 2, 0)


def open_graph(graph: bytes, where: str, threads: int = THREADS) -> Any:
    """An onnxruntime session on the CPU with fixed threads. Raises BundleError."""
    # A graph that keeps its weights in other files could read any file of this machine; the
    # format spells that with this key, which nothing in our graphs is called.
    if b"location" in graph:
        raise BundleError(f"{where} points at other files.")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that spin between pictures would take a whole core from the rest of the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base of their own
        raise BundleError(f"{where} cannot be loaded: {error}") from error


def write_bundle(
    path: str | os.PathLike[str], manifest: Manifest, payload: Mapping[str, bytes]
) -> None:
    """Write a model file, atomically; the manifest is `Manifest.sealed` over the same payload.

    The same input gives the same bytes.
    """
    text = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, data in ((MANIFEST, text.encode()), *((n, payload[n]) for n in PAYLOAD)):
                    archive.writestr(zipfile.ZipInfo(name), data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def find_bundle(model: str | os.PathLike[str] | None = None) -> Path:
    """The file of a model given as a path, a name or an id; of the default one when None.

    The default is the environment's KAOGEN_MODEL, else the model that ships. Raises
    ModelNotFoundError.
    """
    wanted = os.fspath(model) if model is not None else os.environ.get("KAOGEN_MODEL", "")
    shipped = sorted(MODELS.glob(f"*{SUFFIX}"))
    if not wanted:
        if len(shipped) == 1:
            return shipped[0]
        hint = "Give one with --model, or set KAOGEN_MODEL."
        many = f"several models ship: {', '.join(file.name for file in shipped)}."
        raise ModelNotFoundError(many if shipped else "no model ships with this copy.", hint=hint)
    if wanted.endswith(SUFFIX) or Path(wanted).is_file():
        return Path(wanted)
    for file in shipped:
        manifest = Bundle.open(file).manifest
        if wanted in (manifest.id, manifest.name):
            return file
    raise ModelNotFoundError(
        f'there is no model "{wanted}".', hint=f"Give a path to a {SUFFIX} file."
    )


def _read(file: Path) -> dict[str, bytes]:
    """All entries of the zip, bounded; ValueError says what is wrong."""
    if file.stat().st_size > MAX_BUNDLE:
        raise ValueError("it is larger than 1 GiB.")
    contents: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if sorted(entry.filename for entry in entries) != sorted((MANIFEST, *PAYLOAD)):
            raise ValueError(f"it must hold exactly {', '.join((MANIFEST, *PAYLOAD))}.")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"{entry.filename} is compressed.")
            limit = MAX_MANIFEST if entry.filename == MANIFEST else MAX_BUNDLE
            if entry.file_size > min(limit, file.stat().st_size):
                raise ValueError(f"{entry.filename} is too large.")
            contents[entry.filename] = archive.read(entry)
    return contents


def _check_payload(file: Path, manifest: Manifest, payload: Mapping[str, bytes]) -> None:
    for name, info in manifest.files.items():
        data = payload[name]
        if len(data) != info.bytes or hashlib.sha256(data).hexdigest() != info.sha256:
            raise BundleError(
                f"{file}: {name} is not what {MANIFEST} says; the file is damaged.",
                hint="Fetch or export it again.",
            )
    if manifest.id != manifest.content_id():
        raise BundleError(f"{file}: the id {manifest.id} does not belong to this content.")
