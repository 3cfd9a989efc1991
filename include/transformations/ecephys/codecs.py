"""The codecs that turn one chunk of samples into bytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from include.errors import InvalidInput, Problem
from include.transformations.ecephys.settings import CodecName

PACKAGES: dict[CodecName, str] = {
    "blosc-zstd": "numcodecs",
    "flac": "flac-numcodecs",
    "wavpack": "wavpack-numcodecs",
}
"""What someone who reads the Zarr has to install."""


def make_codec(name: CodecName, level: int) -> Any:
    """A numcodecs codec.

    Raises:
        InvalidInput: its package is not in this environment; says what to do.
    """
    if name == "wavpack":
        if find_spec("wavpack_numcodecs") is None:
            problem = Problem(
                "job_settings",
                "codec",
                "this environment has no WavPack",
                "install the Debian packages wavpack, libwavpack-dev and gcc, run `assetflow "
                "environments build ecephys-wavpack`, and call the transformation ecephys-wavpack",
            )
            raise InvalidInput([problem])
        from wavpack_numcodecs import WavPack  # type: ignore[import-not-found]

        return WavPack(level=level)
    if name == "flac":
        from flac_numcodecs import Flac  # type: ignore[import-not-found]

        return Flac(level=level)
    from numcodecs import Blosc  # type: ignore[import-not-found]

    return Blosc(cname="zstd", clevel=level, shuffle=Blosc.BITSHUFFLE)
