"""How the tagger and the judge that ship are trained: a table of stages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kaogen.training.tagger import TaggerConfig


@dataclass(frozen=True)
class Recipe:
    """A tagger's training.

    Attributes:
        stages: each goes on from the one before.
        teachers: networks trained first, whose mean scores of the yes/no tags of unlabelled
            faces are learnt by the stages that have a `soft_share`. The colours of those faces
            are the student's own of the stage before ("self-training", Xie et al. 2020): at them
            the teachers are worse (docs/LOG.md).
        colours: a network apart that judges the colours; None where the stages' one does.
        split_seed: which fifth of the labelled faces is held out.

    """

    stages: tuple[TaggerConfig, ...]
    teachers: tuple[TaggerConfig, ...] = ()
    colours: TaggerConfig | None = None
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
            colours=None if self.colours is None else scale((self.colours,))[0],
        )


# From nothing, so slow to learn a rare tag, but better at colours than ImageNet's network.
PLAIN = TaggerConfig("plain", 80, 900, 128, 3e-3, 1.0, mix=(0.5, 0.35, 0.15), binary_weight=0.5)

RECIPES = {
    # What labels a data set, and what the feature discriminator looks through.
    "tagger": Recipe(
        stages=(
            PLAIN,
            replace(PLAIN, steps=1200, lr=1.5e-3, seed=5, binary_weight=0.25, soft_share=0.6),
        ),
        teachers=(
            TaggerConfig("imagenet", 112, 1400, seed=1, mix=(0.45, 0.4, 0.15), binary_weight=0.15),
        ),
    ),
    # What judges models: other networks, seeds, size and split, never shown a teacher's opinion.
    "judge": Recipe(
        stages=(TaggerConfig("imagenet", 96, 1600, seed=11),),
        colours=replace(PLAIN, network="narrow", size=96, seed=12, binary_weight=0.1),
        split_seed=2,
    ),
}
