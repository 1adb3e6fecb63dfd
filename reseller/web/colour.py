"""The operator's accent, made readable: text of its colour and text on it meet WCAG AA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Rgb: TypeAlias = tuple[int, int, int]

BUILT_IN = "#1d6b4f"
LIGHT_PAPER: Rgb = (250, 249, 246)
DARK_PAPER: Rgb = (23, 22, 20)
# WCAG AA asks for 4.5; the rest is for cards and code, whose ground is not quite the paper.
_AA = 5.0
_STEPS = 64


@dataclass(frozen=True, slots=True)
class Accent:
    """One colour for each theme, and the colour of text on it. Hex texts."""

    light: str
    on_light: str
    dark: str
    on_dark: str


def accent_from(hex_colour: str) -> Accent:
    """The accent for both themes, moved towards black or white only as far as it must be."""
    wanted = parse(hex_colour or BUILT_IN)
    light = _readable(wanted, LIGHT_PAPER, (0, 0, 0))
    dark = _readable(wanted, DARK_PAPER, (255, 255, 255))
    return Accent(text(light), _text_on(light), text(dark), _text_on(dark))


def parse(hex_colour: str) -> Rgb:
    """`#2f6f4f` or `#2f6` as numbers."""
    digits = hex_colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def text(colour: Rgb) -> str:
    """The colour as `#rrggbb`."""
    return "#" + "".join(f"{channel:02x}" for channel in colour)


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of WCAG 2: 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _readable(colour: Rgb, paper: Rgb, towards: Rgb) -> Rgb:
    for step in range(_STEPS + 1):
        mixed = _mix(colour, towards, step)
        if contrast(mixed, paper) >= _AA:
            return mixed
    return towards


def _mix(colour: Rgb, towards: Rgb, step: int) -> Rgb:
    red, green, blue = (
        (mine * (_STEPS - step) + its * step) // _STEPS
        for mine, its in zip(colour, towards, strict=True)
    )
    return red, green, blue


def _text_on(colour: Rgb) -> str:
    dark, light = (16, 15, 14), (255, 255, 255)
    return text(max((light, dark), key=lambda ink: contrast(ink, colour)))


def _luminance(colour: Rgb) -> float:
    red, green, blue = (_linear(channel / 255) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
