"""Incompatible changes of messages: the same that `buf breaking` finds with its category WIRE."""

import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from midstream_server.domain.schemas.wire_changes import wire_changes
from support.validity.build import BUF, build

PROTO3 = 'syntax = "proto3";\npackage p;\n'
PROTO2 = 'syntax = "proto2";\npackage p;\n'
KINDS = (
    *("int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "sfixed32", "fixed64", "sfixed64"),
    *("bool", "string", "bytes", "float", "double", "E", "N"),
)
TYPES = "enum E { E_ZERO = 0; E_ONE = 1; }\nmessage N { int32 n = 1; }\n"


def m(fields: str, more: str = "") -> str:
    return f"{PROTO3}{TYPES}{more}message M {{ {fields} }}\n"


def old2(fields: str) -> str:
    return f"{PROTO2}message M {{ {fields} }}\n"


CHANGES: dict[str, tuple[str, str]] = {
    "nothing": (m("int32 a = 1;"), m("int32 a = 1;")),
    "added": (m("int32 a = 1;"), m("int32 a = 1; string b = 2;")),
    "renamed": (m("int32 a = 1;"), m("int32 b = 1;")),
    "deleted": (m("int32 a = 1; int32 b = 2;"), m("int32 a = 1;")),
    "deleted and reserved": (m("int32 a = 1; int32 b = 2;"), m("int32 a = 1; reserved 2;")),
    "deleted, its name reserved": (m("int32 a = 1; int32 b = 2;"), m('int32 a = 1; reserved "b";')),
    "deleted within a range": (m("int32 a = 1; int32 b = 7;"), m("int32 a = 1; reserved 5 to 9;")),
    "moved": (m("int32 a = 1;"), m("int32 a = 2;")),
    "made repeated": (m("int32 a = 1;"), m("repeated int32 a = 1;")),
    "made singular": (m("repeated string a = 1;"), m("string a = 1;")),
    "made optional": (m("int32 a = 1;"), m("optional int32 a = 1;")),
    "made implicit": (m("optional int32 a = 1;"), m("int32 a = 1;")),
    "made a map": (m("repeated N a = 1;"), m("map<string, int32> a = 1;")),
    "no map any more": (m("map<string, int32> a = 1;"), m("repeated N a = 1;")),
    "another key": (m("map<string, int32> a = 1;"), m("map<int32, int32> a = 1;")),
    "another value": (m("map<string, int32> a = 1;"), m("map<string, string> a = 1;")),
    "a compatible value": (m("map<string, int32> a = 1;"), m("map<string, int64> a = 1;")),
    "a renamed map": (m("map<string, int32> a = 1;"), m("map<string, int32> b = 1;")),
    "into a oneof": (m("int32 a = 1; int32 b = 2;"), m("oneof o { int32 a = 1; int32 b = 2; }")),
    "out of a oneof": (m("oneof o { int32 a = 1; int32 b = 2; }"), m("int32 a = 1; int32 b = 2;")),
    "a renamed oneof": (m("oneof o { int32 a = 1; }"), m("oneof q { int32 a = 1; }")),
    "a longer oneof": (m("oneof o { int32 a = 1; }"), m("oneof o { int32 a = 1; int32 b = 2; }")),
    "another message": (m("N a = 1;"), m("O a = 1;", "message O { int32 n = 1; }\n")),
    "a message of the same name elsewhere": (m("N a = 1;"), m("N a = 1; message N { int32 n = 1; }")),
    "a field of a message": (m("N a = 1;"), m("N a = 1;").replace("int32 n = 1", "string n = 1")),
    "an enum's value deleted": (m("E a = 1;"), m("E a = 1;").replace("E_ONE = 1; ", "")),
    "an enum's value reserved": (m("E a = 1;"), m("E a = 1;").replace("E_ONE = 1;", "reserved 1;")),
    "an enum's value renamed": (m("E a = 1;"), m("E a = 1;").replace("E_ONE", "E_EINS")),
    "an enum's value added": (m("E a = 1;"), m("E a = 1;").replace("E_ONE = 1;", "E_ONE = 1; E_TWO = 2;")),
    "another enum": (m("E a = 1;"), m("F a = 1;", "enum F { F_ZERO = 0; F_ONE = 1; }\n")),
    "an enum elsewhere": (m("E a = 1;"), m("E a = 1; enum E { E_ZERO = 0; E_ONE = 1; E_TWO = 2; }")),
    "a smaller enum elsewhere": (m("E a = 1;"), m("E a = 1; enum E { E_ZERO = 0; }")),
    "fewer reserved": (m("int32 a = 1; reserved 5 to 9;"), m("int32 a = 1; reserved 5 to 8;")),
    "reserved in parts": (m("int32 a = 1; reserved 5 to 9;"), m("int32 a = 1; reserved 5 to 7, 8, 9;")),
    "a name not reserved": (m('int32 a = 1; reserved "x";'), m("int32 a = 1;")),
    "an enum's number not reserved": (
        m("E a = 1;").replace("E_ONE = 1;", "E_ONE = 1; reserved 5 to 7;"),
        m("E a = 1;").replace("E_ONE = 1;", "E_ONE = 1; reserved 5 to 6;"),
    ),
    "required": (old2("optional int32 a = 1;"), old2("required int32 a = 1;")),
    "not required": (old2("required int32 a = 1;"), old2("optional int32 a = 1;")),
    "a new required one": (old2("optional int32 a = 1;"), old2("optional int32 a = 1; required int32 b = 2;")),
    "another default": (old2("optional int32 a = 1 [default = 1];"), old2("optional int32 a = 1 [default = 2];")),
    "a new default": (old2("optional int32 a = 1;"), old2("optional int32 a = 1 [default = 2];")),
    "a group": (
        old2("optional group A = 1 { optional int32 b = 1; }"),
        old2("optional A a = 1; message A { optional int32 b = 1; }"),
    ),
    "several": (m("int32 a = 1; int32 b = 2; E c = 3;"), m("string a = 1; repeated E c = 3;")),
    **{f"{old} to {new}": (m(f"{old} a = 1;"), m(f"{new} a = 1;")) for old in KINDS for new in KINDS if old != new},
}


def placed(side: int) -> dict[str, str]:
    """Every change in a package of its own."""
    return {
        f"p{number}/p.proto": change[side].replace("package p;", f"package p{number};")
        for number, change in enumerate(CHANGES.values())
    }


@pytest.fixture(scope="module")
def ours() -> dict[str, set[str]]:
    before, after = (
        {file.name: file for file in FileDescriptorSet.FromString(build(placed(side))).file} for side in (0, 1)
    )
    return {
        name: {change.rule for change in wire_changes([before[path]], [after[path]])}
        for name, path in zip(CHANGES, placed(0), strict=True)
    }


@pytest.fixture(scope="module")
def theirs() -> dict[str, set[str]]:
    """buf's verdicts on all changes in one go: each has a package of its own."""
    with tempfile.TemporaryDirectory() as name:
        for side in (0, 1):
            folder = Path(name) / str(side)
            for path, text in placed(side).items():
                (folder / path).parent.mkdir(parents=True)
                (folder / path).write_text(text)
            (folder / "buf.yaml").write_text("version: v2\nbreaking:\n  use:\n    - WIRE\n")
        done = subprocess.run(
            [BUF, "breaking", "1", "--against", "0", "--error-format", "json"],
            cwd=name,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    found: dict[str, set[str]] = {each: set() for each in CHANGES}
    names = list(CHANGES)
    for line in done.stdout.splitlines():
        number, rule = re.search(r"\bp(\d+)/p\.proto", line), re.search(r'"type":"([A-Z_]+)"', line)
        assert number is not None
        assert rule is not None
        found[names[int(number[1])]].add(rule[1])
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_buf_says_the_same(ours: dict[str, set[str]], theirs: dict[str, set[str]], name: str) -> None:
    assert ours[name] == theirs[name]


def test_both_verdicts_happen(theirs: dict[str, set[str]]) -> None:
    rules = {rule for found in theirs.values() for rule in found}
    assert len(rules) == 9
    assert sum(not found for found in theirs.values()) > 40
