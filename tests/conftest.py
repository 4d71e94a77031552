"""What every test shares: the --slow option, a clean environment and one hypothesis profile."""

import os

import hypothesis
import pytest

# Tests may pin an instruction-set tier, point at data or size a model run;
# no other setting of the caller leaks in.
_KEPT_SETTINGS = {
    *("NEARFIELD_ISA", "NEARFIELD_SHARED_DATA"),
    *("NEARFIELD_MODEL_STEPS", "NEARFIELD_MODEL_SEED"),
    *("NEARFIELD_CRASH_KILLS", "NEARFIELD_CRASH_SEED"),
}

for _name in [name for name in os.environ if name.startswith("NEARFIELD_") and name not in _KEPT_SETTINGS]:
    del os.environ[_name]
os.environ.setdefault("MPLBACKEND", "Agg")

hypothesis.settings.register_profile("nearfield", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("nearfield")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))
