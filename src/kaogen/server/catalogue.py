"""What a model can draw, told for people: its tags in groups, its card, a character in words."""

from collections.abc import Collection

from kaogen.server.schemas import (
    GroupBody,
    Language,
    ModelBody,
    ModelsBody,
    TagBody,
    TagsBody,
)
from kaogen.studio.bundle import Bundle
from kaogen.studio.manifest import TagInfo
from kaogen.tags import Vocabulary, tag

NOT_PUBLIC = frozenset({"cleavage", "bare shoulders"})
"""Tags that a public page leaves out unless its owner wants them."""


def tags_body(bundle: Bundle, lang: Language, hidden: Collection[str]) -> TagsBody:
    """List the vocabulary in groups, without the hidden tags and without groups left empty."""
    vocabulary = bundle.vocabulary
    infos = {info.name: info for info in bundle.manifest.tags}
    groups = [
        GroupBody(
            id=group.name.replace(" ", "-"),
            name=group.names[lang],
            names=dict(group.names),
            exclusive=group.exclusive,
            tags=[
                _tag_body(infos[name], vocabulary, lang, hidden)
                for name in group.tags
                if name not in hidden
            ],
        )
        for group in vocabulary.groups
    ]
    return TagsBody(model=bundle.id, groups=[group for group in groups if group.tags])


def _tag_body(
    info: TagInfo, vocabulary: Vocabulary, lang: Language, hidden: Collection[str]
) -> TagBody:
    known = tag(info.name)
    rivals = {
        rival for names in vocabulary.exclusive.values() if info.name in names for rival in names
    }
    return TagBody(
        name=info.name,
        label=known.names.get(lang, info.name),
        names=dict(known.names),
        aliases=list(known.aliases),
        implies=[name for name in known.implies if name in vocabulary],
        excludes=list(vocabulary.canonical(rivals - {info.name} - set(hidden))),
        index=vocabulary.index(info.name),
        learnt=info.learnt,
        obedience=info.obedience,
        why="" if info.learnt else _why_not(info),
    )


def _why_not(info: TagInfo) -> str:
    percent = 100 * info.share
    seen = "none" if percent == 0 else f"{percent:.1g} %" if percent < 1 else f"{percent:.0f} %"
    return f"This model has not learnt it: {seen} of its training faces are known to show it."


def models_body(bundle: Bundle) -> ModelsBody:
    """Describe the one model of this server."""
    manifest = bundle.manifest
    model = ModelBody(
        id=bundle.id,
        name=manifest.name,
        default=True,
        resolution=manifest.resolution,
        width=manifest.image_shape[2],
        channels=manifest.channels,
        licence=manifest.licence,
        trained=manifest.trained.model_dump(mode="json"),
        tags=len(manifest.tags),
        learnt=len(bundle.learnt),
        card=bundle.card,
    )
    return ModelsBody(models=[model])


def alt_text(tags: Collection[str]) -> str:
    """Say what the picture shows, for those who do not see it."""
    return f"Anime character's face: {', '.join(tags)}." if tags else "Anime character's face."
