"""What makes a run that run: compared when the same command goes on."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from kaogen.nets.config import NetConfig
from kaogen.training.config import TrainConfig
from kaogen.training.inputs import listed

# Settings that a person may change between two starts of the same run.
MAY_CHANGE = ("kimg", "tick_kimg", "lr_g", "lr_d", "lr_decay", "lr_hold", "lr_final")


def as_now(identity: dict[str, Any]) -> dict[str, Any]:
    """An identity from `config.json`, maybe an older kaogen's, in today's terms.

    A setting that it does not name is what runs did before there was that setting: the default.
    A part that it does not name cannot be compared and is left out.
    """
    net, train = dict(identity.get("net", {})), dict(identity.get("train", {}))
    if not net.get("extra"):
        net.pop("extra", None)  # early runs carried an empty one
    net = {**defaults_of(NetConfig), **net}
    train = {**defaults_of(TrainConfig), **train}
    train = {k: v for k, v in train.items() if k not in MAY_CHANGE}
    return {**identity, "net": net, "train": train}


def defaults_of(settings: type[NetConfig] | type[TrainConfig]) -> dict[str, Any]:
    """Each setting that has a default, and that."""
    return {f.name: f.default for f in fields(settings) if f.default is not MISSING}


def difference(theirs: dict[str, Any], part: str, mine: Any) -> str:
    """The first setting that differs, in words."""
    other = theirs.get(part)
    if isinstance(mine, dict) and isinstance(other, dict):
        for key, value in mine.items():
            if other.get(key) != value:
                return f"{key} was {other.get(key)!r}, now {value!r}"
    if isinstance(mine, list) and isinstance(other, list):
        gone = [str(x) for x in other if x not in mine]
        new = [str(x) for x in mine if x not in other]
        parts = [f"without {listed(gone)}"] if gone else []
        parts += [f"with {listed(new)}"] if new else []
        return " and ".join(parts) or "the same in another order"
    return "it is not the same"
