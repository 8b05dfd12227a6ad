"""A model file written anew with other words about itself; what it draws stays, and so its id."""

import os
import zipfile
from collections.abc import Mapping

from kaogen.studio.bundle import Bundle, write_bundle
from kaogen.studio.manifest import PAYLOAD, Manifest


def write_measured(
    path: str | os.PathLike[str], measured: Mapping[str, tuple[float, float]]
) -> Manifest:
    """Store per tag how often it shows when asked for and when not, both 0..1, in a model file.

    Tags that are not named lose the figures that they had: all figures of a file are of one
    evaluation. The file is replaced whole or not at all.

    Raises ModelNotFoundError, BundleError, and KeyError for a tag that the model does not have.
    """
    bundle = Bundle.open(path)
    unknown = set(measured) - set(bundle.vocabulary.names)
    if unknown:
        raise KeyError(min(unknown))
    tags = []
    for tag in bundle.manifest.tags:
        shown, unasked = measured.get(tag.name, (None, None))
        tags.append(tag.model_copy(update={"obedience": shown, "unasked": unasked}))
    manifest = Manifest.model_validate({**bundle.manifest.model_dump(), "tags": tags})
    assert manifest.id == manifest.content_id()
    with zipfile.ZipFile(path) as archive:
        payload = {name: archive.read(name) for name in PAYLOAD}
    write_bundle(path, manifest, payload)
    return manifest
