"""Taggers from the Hugging Face hub, by ``hub:OWNER/NAME``; fetched once, then in its cache."""

from __future__ import annotations

import re
from pathlib import Path

from kaogen.errors import ConfigError, MissingExtraError, ModelNotFoundError

# The usual lists of tags, and kaogen's own description; the first that is there counts.
_LISTS = ("selected_tags.csv", "tags.txt", "tag_list.json")
_SPEC = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/([\w./-]+\.onnx))?")


def fetch(spec: str) -> Path:
    """Fetch a tagger's graph and its list of tags; returns the graph's path, the list beside it.

    Args:
        spec: ``hub:OWNER/NAME[@REVISION][/FILE.onnx]``; the file is ``model.onnx`` unless told.

    Raises:
        ConfigError: the spec cannot be read.
        MissingExtraError: huggingface_hub is not installed.
        ModelNotFoundError: the hub cannot be reached, or has no such files.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ConfigError(
            f"the tagger {spec!r} cannot be read.",
            hint="Such as: hub:SmilingWolf/wd-vit-tagger-v3",
        )
    repository, revision, file = match[1], match[2], match[3] or "model.onnx"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingExtraError("hub", f"the tagger {spec}") from error

    def get(name: str) -> Path:
        return Path(hf_hub_download(repository, name, revision=revision))

    folder, own = Path(file).parent, Path(file).with_suffix(".json")
    try:
        graph = get(file)
        for name in (*((folder / name).as_posix() for name in _LISTS), own.as_posix()):
            try:
                get(name)
            except EntryNotFoundError:
                continue
            break
    except Exception as error:  # the hub's and its HTTP library's errors share no base but this
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelNotFoundError(
            f"{spec} cannot be fetched: {first}",
            hint="Is the name right, and the hub reachable? A local .onnx file works as well.",
        ) from error
    return graph
