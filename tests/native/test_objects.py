"""What the compiler made of the tier files: nothing another tier could replace, no foreign instructions."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.checkout import ROOT

# Vector registers beyond SSE, and mask registers: a baseline CPU has none of them.
WIDE_REGISTER = re.compile(r"%[yz]mm\d+|%k[0-7]\b")
# A three-operand (VEX) form of any instruction begins with v.
VEX_INSTRUCTION = re.compile(r"\tv[a-z]")
# Objects for what only some CPUs of a tier have: each is one table that the tier's own functions look up.
EXTENSIONS = {"bf16": "avx512"}
# From the compiler's own library: std::popcount without the instruction, and what this CPU has.
LIBRARY = {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_", "__popcountdi2", "__cpu_features2"}


def objects() -> list[Path]:
    """Tier objects of the most recent build in the checkout."""
    found = [path for path in ROOT.glob("build/cp*/CMakeFiles/nearfield_core.dir/kernels/*.o")]
    if not found:
        pytest.skip("no build tree in this checkout")
    newest = max(found, key=lambda path: path.stat().st_mtime).parent
    return sorted(newest.glob("*.o"))


def tier(path: Path) -> str:
    """`avx2` of `codes_avx2.cpp.o`."""
    return path.name.split(".")[0].rpartition("_")[2]


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def symbols(path: Path) -> dict[str, str]:
    """Letter of every symbol, by name."""
    found = re.finditer(r"^[0-9a-f ]* (\w) (.+)$", tool("nm", "--demangle", str(path)), re.MULTILINE)
    return {match[2]: match[1] for match in found}


def test_there_is_an_object_for_every_tier_source() -> None:
    names = {path.name.removesuffix(".cpp.o") for path in objects()}
    tiers = {name for name in names if "_" not in name}
    assert tiers in ({"baseline", "avx2", "avx512"}, {"baseline", "neon"}, {"baseline"})
    named = {name.rpartition("_")[2] for name in names}
    assert named - EXTENSIONS.keys() == tiers
    assert {EXTENSIONS[name] for name in named & EXTENSIONS.keys()} <= tiers
    families = {name.rpartition("_")[0] for name in names} - {""}
    assert "codes" in families
    assert {f"{family}_baseline" for family in families} <= names


def test_no_weak_or_unique_symbols() -> None:
    for path in objects():
        weak = {name for name, letter in symbols(path).items() if letter in "wWvVu"}
        assert not weak, f"{path.name}: another object's copy could be linked instead"


def test_only_the_table_or_function_of_a_tier_is_exported() -> None:
    for path in objects():
        exported = {name for name, letter in symbols(path).items() if letter.isupper() and letter != "U"}
        assert len(exported) == 1, f"{path.name}: {exported}"
        assert re.fullmatch(rf"nearfield::(k\w+(Kernels|Filter)|\w+_{tier(path)}\(.*\))", exported.pop())


def test_tiers_call_nothing_of_each_other() -> None:
    for path in objects():
        called = {name for name, letter in symbols(path).items() if letter == "U"}
        # The one table refers to its tier's others, or to the baseline's where the tier has none.
        name = tier(path)
        added = "|".join(part.capitalize() for part, of in EXTENSIONS.items() if of == name) or "-"
        tables = rf"k({name.capitalize()}|Baseline)\w+Kernels|k({added})\w+Filter"
        own = re.compile(rf"nearfield::({tables}|\w+_{name}\(.*\))")
        called = {symbol for symbol in called if not own.fullmatch(symbol)}
        assert called <= LIBRARY, f"{path.name}: {called}"


def test_baseline_holds_no_wide_instructions() -> None:
    for baseline in (path for path in objects() if "baseline" in path.name):
        if "x86-64" not in tool("objdump", "-f", str(baseline)):
            pytest.skip("not an x86-64 build")
        code = tool("objdump", "-d", "--no-show-raw-insn", str(baseline))
        assert not WIDE_REGISTER.search(code)
        assert not VEX_INSTRUCTION.search(code)


def test_fast_tiers_hold_what_they_are_named_for() -> None:
    paths = {path.name.split(".")[0]: path for path in objects()}
    if "avx512" not in paths:
        pytest.skip("not an x86-64 build")
    wide = tool("objdump", "-d", "--no-show-raw-insn", str(paths["avx512"]))
    narrow = tool("objdump", "-d", "--no-show-raw-insn", str(paths["avx2"]))
    assert "%zmm" in wide
    assert "%ymm" in narrow
    assert not re.search(r"%zmm|%k[0-7]\b", narrow)
    # The compiler once took the prefetches for calls without effect and dropped most of them.
    assert wide.count("\tprefetch") >= 100
    assert narrow.count("\tprefetch") >= 100
