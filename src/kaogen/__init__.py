"""kaogen (顔 *kao*, face): anime character faces from traits you pick.

::

    import kaogen

    character = kaogen.draw("pink hair, blue eyes, smile", seed=42)
    character.image.show()

Importing this package is instant: the public names below load their module on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module it lives in. A test pins this list.
_WHERE = {
    "KaogenError": "kaogen.errors",
    "Vocabulary": "kaogen.tags",
    "PAPER": "kaogen.tags",
    "Recipe": "kaogen.recipe",
    "Character": "kaogen.studio.draw",
    "Studio": "kaogen.studio.draw",
    "draw": "kaogen.studio.draw",
    "open_model": "kaogen.studio.draw",
}

__all__ = [
    "PAPER",
    "Character",
    "KaogenError",
    "Recipe",
    "Studio",
    "Vocabulary",
    "__version__",
    "draw",
    "open_model",
]

if TYPE_CHECKING:
    from kaogen.errors import KaogenError
    from kaogen.recipe import Recipe
    from kaogen.studio.draw import Character, Studio, draw, open_model
    from kaogen.tags import PAPER, Vocabulary


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kaogen' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
