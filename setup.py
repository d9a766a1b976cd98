"""What pyproject.toml cannot say: the wheel holds the native data plane, built by cargo.

`RIPSTOP_BUILD_RUST=0` leaves it out: in a checkout the Makefile builds it, and it is found in `target/`.
"""

import os

from setuptools import setup
from setuptools_rust import Binding, RustExtension, Strip


def rust_extensions() -> list[RustExtension]:
    """The program goes to `ripstop/_bin/ripstop-proxy`."""
    if os.environ.get("RIPSTOP_BUILD_RUST", "1") == "0":
        return []
    proxy = RustExtension(
        {"ripstop-proxy": "ripstop._bin.ripstop-proxy"},
        path="crates/ripstop-proxy/Cargo.toml",
        args=["--locked"],
        binding=Binding.Exec,
        strip=Strip.Debug,
        debug=False,
    )
    core = RustExtension(
        "ripstop._core",
        path="crates/ripstop-python/Cargo.toml",
        args=["--locked"],
        binding=Binding.PyO3,
        debug=False,
    )
    return [proxy, core]


setup(rust_extensions=rust_extensions())
