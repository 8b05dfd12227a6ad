"""How each of the three networks that ship is trained: a table of stages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kaogen.training.tagger import TaggerConfig


@dataclass(frozen=True)
class Recipe:
    """A tagger's training.

    Attributes:
        stages: each goes on from the one before.
        teachers: networks trained first, whose mean scores of unlabelled faces the stages learn
            as well ("self-training", Xie et al. 2020); may be empty.
        colour_teachers: the same, but asked about the colours alone.
        soft_share: of each batch, when there are teachers.
        split_seed: which fifth of the labelled faces is held out.

    """

    stages: tuple[TaggerConfig, ...]
    teachers: tuple[TaggerConfig, ...] = ()
    colour_teachers: tuple[TaggerConfig, ...] = ()
    soft_share: float = 0.0
    split_seed: int = 1

    @property
    def size(self) -> int:
        """Edge in pixels of what the finished network sees."""
        return self.stages[-1].size

    def scaled(self, times: float) -> Recipe:
        """The same with so many times the steps."""

        def scale(configs: tuple[TaggerConfig, ...]) -> tuple[TaggerConfig, ...]:
            return tuple(replace(c, steps=max(20, round(c.steps * times))) for c in configs)

        return replace(
            self,
            stages=scale(self.stages),
            teachers=scale(self.teachers),
            colour_teachers=scale(self.colour_teachers),
        )


# From nothing, so slow to learn a rare tag, but better at colours than ImageNet's network.
PLAIN = TaggerConfig("plain", 80, 900, 128, 3e-3, 1.0, mix=(0.5, 0.35, 0.15), binary_weight=0.5)

RECIPES = {
    # What labels a data set: small and quick, taught by two larger ones.
    "tagger": Recipe(
        stages=(TaggerConfig("cut", 96, 1500, 96, seed=3),),
        teachers=(
            TaggerConfig("whole", 112, 1400, seed=1, mix=(0.45, 0.4, 0.15), binary_weight=0.15),
        ),
        colour_teachers=(PLAIN,),
        soft_share=0.6,
    ),
    # What judges models: whole, other seed, size and split, never shown a teacher's opinion.
    "judge": Recipe(
        stages=(TaggerConfig("whole", 96, 1600, seed=11, mix=(0.5, 0.36, 0.14)),),
        split_seed=2,
    ),
    # What the feature discriminator looks through: dense convolutions.
    "trunk": Recipe(
        stages=(
            PLAIN,
            replace(PLAIN, steps=320, lr=1.5e-3, weight_decay=0.05, mix=(0.65, 0.25, 0.1)),
        ),
    ),
}
