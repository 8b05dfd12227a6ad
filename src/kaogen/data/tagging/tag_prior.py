"""Tags that a face crop cannot show, or that say nothing of a face: what is known beforehand.

Posts on the boorus are tagged by their whole pictures. Where nothing has looked at the crops
themselves, these words (as Danbooru spells them, with spaces) are the only warning.
"""

from __future__ import annotations

import re

# Anywhere in a tag as whole words: it is about what lies below or around a face crop.
_OUTSIDE = """
breast, breasts, nipple, nipples, areolae, navel, midriff, stomach, abs, hip, hips, waist, leg, legs
thigh, thighs, knee, knees, ass, butt, groin, crotch, pussy, penis, anus, toe, toes, feet, foot
barefoot, shoe, shoes, boots, sneakers, heels, sandals, footwear, sock, socks, stockings, pantyhose
thighhighs, kneehighs, legwear, zettai ryouiki, skirt, shorts, pants, panties, underwear, bra
lingerie, bikini, swimsuit, leotard, buruma, bloomers, miniskirt, dress, apron, pleated, belt, tail
standing, sitting, kneeling, lying, walking, running, jumping, squatting, wariza, seiza, on back
on side, on stomach, on bed, bed, chair, full body, cowboy shot, from behind, arm, arms, armpit
armpits, hand, hands, finger, fingers, fingernails, nails, holding, weapon, sword, gun, katana, bag
backpack, umbrella, phone, cup, food, sleeves, wings, sex, nude, topless, naked, cum
"""
# The whole tag: it tells one picture from another, not one face from another.
_IDLE = r"""
\d\+?girls?, \d\+?boys?, \d\+?others?, multiple girls, multiple boys, solo, solo focus, female, face
portrait, close-up, upper body, bust, head, profile picture, original, virtual youtuber, 3d
official art, game cg, parody, monochrome, gr[ae]yscale, comic, 4koma, sketch, lineart, photo
traditional media, highres, absurdres, incredibly absurdres, lowres, masterpiece, best quality
jpeg artifacts, scan, duplicate, commentary, commentary request, translated, bad id, signed
signature, watermark, web address, (artist|character|copyright|twitter) (user)?name, dated, logo
border, letterboxed, pillarboxed, speech bubble, indoors, outdoors, day, night, (blue |night )?sky
cloud, water, tree, depth of field, blurry, bad, .* text, .*background, .* focus, .* theme
.* \(.*\)
"""
# Worn or grown on the head.
_SPARED = frozenset({"head wings", "hair wings"})


def _words(table: str) -> list[str]:
    return [word.strip() for word in table.replace("\n", ",").split(",") if word.strip()]


_OUTSIDE_RE = re.compile(rf"(?<![\w-])(?:{'|'.join(_words(_OUTSIDE))})(?![\w-])")
_IDLE_RE = re.compile("|".join(_words(_IDLE)))


def why_useless(name: str) -> str:
    """Why a tag is no use for faces, so far as its name tells; "" when nothing is against it."""
    if name in _SPARED:
        return ""
    if _IDLE_RE.fullmatch(name):
        return "known to say nothing of a face"
    if _OUTSIDE_RE.search(name):
        return "known to lie outside a face crop"
    return ""
