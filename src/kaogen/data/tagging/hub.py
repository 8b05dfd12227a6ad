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
    try:
        # What was fetched once is used as it is: no network, and the same tagger tomorrow.
        graph = _get(match, local=True) or _get(match, local=False)
    except ModuleNotFoundError as error:
        raise MissingExtraError("hub", f"the tagger {spec}") from error
    except Exception as error:  # the hub's and its HTTP library's errors share no base but this
        raise ModelNotFoundError(
            f"{spec} cannot be fetched: {_reason(error, match)}",
            hint="Is the name right, and the hub reachable? A local .onnx file works as well.",
        ) from error
    assert graph is not None  # without the cache it is there, or an error is
    return graph


def _reason(error: Exception, match: re.Match[str]) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the hub cannot be reached."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{match[1]} has no file {match[3] or 'model.onnx'}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no public repository {match[1]}."
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _get(match: re.Match[str], *, local: bool) -> Path | None:
    """The graph with its list beside it; None when the cache does not have both."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, revision, file = match[1], match[2], match[3] or "model.onnx"
    lists = [Path(file).with_name(name) for name in _LISTS]

    def get(name: str) -> Path | None:
        try:
            path = hf_hub_download(repository, name, revision=revision, local_files_only=local)
        except LocalEntryNotFoundError:  # not in the cache, or the hub was not reached
            if local:
                return None
            raise
        return Path(path)

    graph = get(file)
    for path in (*lists, Path(file).with_suffix(".json")) if graph is not None else ():
        try:
            if get(path.as_posix()) is not None:
                return graph
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            continue
    return None if local else graph
