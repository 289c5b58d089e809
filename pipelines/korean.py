"""What the code knows of Korean grammar: particles, which are written onto the noun before them."""

PARTICLES = (
    *("에서는", "에게서", "이라는", "에서", "에게", "으로", "부터", "까지", "라는", "이다"),
    *("은", "는", "이", "가", "을", "를", "의", "에", "로", "와", "과", "도"),
)
"""Longer ones first, so that the longest that fits is taken off a word."""

_LETTER = "[가-힣0-9a-z]"
PARTICLE_PATTERN = f"(?<={_LETTER}{_LETTER})(?:{'|'.join(PARTICLES)})$"
"""A particle that ends a lower-case word with at least two characters before it."""
