"""Schemas and payloads that are meant to harm: a clear refusal, soon, whatever they are."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from buf.validate import validate_pb2
from midstream.v1 import input_stream_pb2
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.schemas.declaration import Declaration
from midstream_server.domain.schemas.declared import declared_streams
from midstream_server.domain.schemas.json_type import JsonType
from midstream_server.domain.schemas.protobuf_type import ProtobufType, Unfit
from support.schemas import message_set
from support.validity.protobuf_cases import shapes

MIB = 1024 * 1024
Field = FieldDescriptorProto


def refusal(data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        declared_streams(data)
    assert caught.value.reason is Reason.SCHEMA_INVALID
    return caught.value


def json_refusal(schema: Any) -> Refused:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    with pytest.raises(Refused) as caught:
        JsonType(text.encode(), "s").check()
    assert caught.value.reason is Reason.SCHEMA_INVALID
    assert caught.value.metadata == {"stream_id": "s"}
    return caught.value


def a_file(name: str = "a.proto", *, stream_id: str = "s", imports: tuple[str, ...] = ()) -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package=name.partition(".")[0], syntax="proto3", dependency=imports)
    message = file.message_type.add(name="M")
    message.field.add(name="text", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    message.options.Extensions[input_stream_pb2.input_stream].id = stream_id
    return file


def a_set(*files: FileDescriptorProto) -> bytes:
    return FileDescriptorSet(file=files).SerializeToString()


def with_rule(change: Callable[[validate_pb2.FieldRules], object]) -> bytes:
    file = a_file()
    change(file.message_type[0].field[0].options.Extensions[validate_pb2.field])
    return a_set(file)


def the_type(data: bytes) -> ProtobufType:
    (declaration,) = declared_streams(data)
    return ProtobufType(declaration.type_name, declaration.definition)


def test_files_that_do_not_fit_together_are_named() -> None:
    missing = refusal(a_set(a_file(imports=("b.proto",))))
    assert missing.metadata == {"file": "a.proto"}
    assert "'b.proto'" in missing.message
    assert refusal(a_set(a_file(), a_file())).metadata == {"file": "a.proto"}
    first, second = a_file(imports=("b.proto",)), a_file("b.proto", stream_id="t", imports=("a.proto",))
    assert "in turn" in refusal(a_set(first, second)).message
    assert refusal(a_set(a_file(imports=("a.proto",)))).metadata == {"file": "a.proto"}
    unresolvable = a_file()
    unresolvable.message_type[0].field.add(
        name="b", number=2, type=Field.TYPE_MESSAGE, label=Field.LABEL_OPTIONAL, type_name=".no.Such"
    )
    assert refusal(a_set(unresolvable)).metadata == {"file": "a.proto"}
    assert refusal(a_set(a_file(), a_file("b.proto"))).metadata == {"file": "b.proto"}


def test_files_may_come_in_any_order() -> None:
    (declaration,) = declared_streams(a_set(a_file(imports=("b.proto",)), FileDescriptorProto(name="b.proto")))
    assert declaration.type_name == "a.M"


@pytest.mark.parametrize("number", range(300))
def test_garbage_as_a_descriptor_set(number: int) -> None:
    """Bytes at random, and sound sets with some bytes changed."""
    chance = random.Random(number)
    if number % 3 == 0:
        data = chance.randbytes(chance.randint(0, 200))
    else:
        changed = bytearray(a_set(a_file(imports=("buf/validate/validate.proto",)), a_file("b.proto", stream_id="t")))
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        data = bytes(changed)
    with suppress(Refused):
        assert all(isinstance(each, Declaration) for each in declared_streams(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda rules: setattr(rules.string, "pattern", "("),
        lambda rules: setattr(rules.string, "pattern", "(?=a)b"),
        lambda rules: setattr(rules.string, "pattern", "((a{1000}){1000}){1000}"),
        lambda rules: setattr(rules.int32, "gt", 5),
        lambda rules: rules.cel.add(id="x", expression="this.nope("),
        lambda rules: rules.cel.add(id="x", expression="this + 1 > 2"),
        lambda rules: rules.cel.add(id="x", expression="+".join(["this"] * 200) + " == ''"),
        lambda rules: rules.cel.add(id="x", expression="(" * 5000 + "this" + ")" * 5000),
    ],
)
def test_rules_that_cannot_work_are_refused_at_registration(
    change: Callable[[validate_pb2.FieldRules], object],
) -> None:
    assert refusal(with_rule(change)).metadata == {"file": "a.proto"}


def test_a_pattern_that_would_backtrack_for_ever() -> None:
    kind = the_type(with_rule(lambda rules: setattr(rules.string, "pattern", "^(a+)+$")))
    with pytest.raises(Unfit) as caught:
        kind.check_binary(b"\x0a\x80\x80\x40" + b"a" * (MIB - 1) + b"!")
    assert [each.rule for each in caught.value.violations] == ["string.pattern"]


def test_a_rule_that_would_run_for_ever() -> None:
    loops = "this.all(a, this.all(b, this.all(c, this.all(d, a + b + c + d < 5))))"
    data = message_set(f'repeated int32 n = 1 [(buf.validate.field).cel = {{id: "x", expression: "{loops}"}}];')
    with pytest.raises(Unfit) as caught:
        the_type(data).check_binary(b"\x0a\x90\x4e" + b"\x01" * 10_000)
    assert caught.value.violations[0].rule == "evaluation"
    assert "budget" in caught.value.violations[0].description


def test_a_set_and_a_type_have_a_size() -> None:
    many = a_file()
    for number in range(2, 3_000):
        many.message_type[0].field.add(name="n" * 90 + f"{number}", number=number, type=Field.TYPE_STRING, label=1)
    assert "bytes of descriptors" in refusal(a_set(many)).message
    assert "at most 1048576" in refusal(a_set(a_file(), FileDescriptorProto(name="x" * MIB))).message
    files = [FileDescriptorProto(name=f"{number}.proto") for number in range(1_001)]
    assert "1001 files" in refusal(a_set(*files)).message


def chain_of(types: int) -> bytes:
    """Types of which each holds the next, and the last the first."""
    file = a_file()
    for number in range(types):
        following = f".a.N{(number + 1) % types}"
        message = file.message_type.add(name=f"N{number}")
        message.field.add(name="n", number=1, type=Field.TYPE_MESSAGE, label=1, type_name=following)
    file.message_type[0].field.add(name="n", number=2, type=Field.TYPE_MESSAGE, label=1, type_name=".a.N0")
    return a_set(file)


def test_a_long_chain_of_imports_and_of_types() -> None:
    chain = [FileDescriptorProto(name=f"{number}.proto", dependency=[f"{number + 1}.proto"]) for number in range(900)]
    chain += [FileDescriptorProto(name="900.proto")]
    assert declared_streams(a_set(a_file(imports=("0.proto",)), *chain))[0].type_name == "a.M"
    the_type(chain_of(299)).check_binary(b"\x0a\x01a\x12\x02\x0a\x00")
    assert "301 message types" in refusal(chain_of(300)).message
    assert "1001 message types" in refusal(chain_of(1_000)).message


def varint(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128,)) + varint(number >> 7)


@pytest.mark.parametrize("depth", [200, 10_000])
def test_messages_nested_deeper_than_descriptors_may_be(depth: int) -> None:
    nested = b""
    for _ in range(depth):
        nested = b"\x1a" + varint(len(nested)) + nested
    file = b"\x0a\x01a" + b"\x22" + varint(len(nested)) + nested
    assert "FileDescriptorSet" in refusal(b"\x0a" + varint(len(file)) + file).message


@pytest.mark.parametrize("depth", [50, 99, 101, 1_000, 10_000])
def test_payloads_nested_deeply(depth: int) -> None:
    kind = the_type(message_set("Message inner = 1; int32 n = 2;"))
    value = b"\x10\x01"
    for _ in range(depth):
        value = b"\x0a" + varint(len(value)) + value
    if depth < 100:
        kind.check_binary(value)
        assert kind.from_json('{"inner":' * depth + '{"n":1}' + "}" * depth) == (value, [])
        return
    with pytest.raises(Unfit):
        kind.check_binary(value)


def test_a_large_message() -> None:
    kind = the_type(message_set("repeated string items = 1 [(buf.validate.field).repeated.items.string.max_len = 4];"))
    text = json.dumps({"items": ["aaaa"] * (MIB // 8)})
    binary, violations = kind.from_json(text)
    assert (len(binary), violations) == (MIB // 8 * 6, [])
    kind.check_binary(binary)
    with pytest.raises(Unfit) as caught:
        kind.check_binary(binary.replace(b"\x04aaaa", b"\x05aaaaa", 1000))
    assert [each.field for each in caught.value.violations] == ["items[0]"]
    with pytest.raises(Unfit) as caught:
        kind.check_binary(b"\x0a\x05aaaaa" * 50)
    assert len(caught.value.violations) == 20


JSON_BOMBS: dict[str, Any] = {
    "not json": "{",
    "no object": "[]",
    "garbage": "nope",
    "too large": {"description": "x" * 256 * 1024},
    "too deep": '{"not":' * 100 + "{}" + "}" * 100,
    "far too deep": '{"not":' * 30_000 + "{}" + "}" * 30_000,
    "elsewhere": {"$ref": "https://example.com/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "nowhere": {"$ref": "#/$defs/nope"},
    "itself": {"$ref": "#"},
    "itself, in all": {"allOf": [{"$ref": "#"}]},
    "each other": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "dynamic": {"$dynamicRef": "#a"},
    "doubling": {
        "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": True},
        "$ref": "#/$defs/d0",
    },
    "broad": {"allOf": [{"minimum": number} for number in range(2_000)]},
    "look-around": {"pattern": "(?=a)b"},
    "back-reference": {"pattern": "(a)\\1"},
    "a large pattern": {"pattern": "((a{100}){100}){100}"},
    "many patterns": {"properties": {f"p{number}": {"pattern": f"a{number}"} for number in range(200)}},
    "another draft": {"$schema": "http://json-schema.org/draft-07/schema#"},
    "no such type": {"type": "text"},
    "no properties": {"properties": 5},
    "no patterns": {"patternProperties": 5},
}


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_json_schemas_that_are_refused(name: str) -> None:
    json_refusal(JSON_BOMBS[name])


def test_a_schema_that_is_checked_in_too_many_ways() -> None:
    inner = {"properties": {"c": {"$ref": "#/$defs/n"}}}
    recursive = {
        "$defs": {"n": {"anyOf": [inner | {"required": ["x"]}, inner | {"required": ["y"]}]}},
        "$ref": "#/$defs/n",
    }
    kind = JsonType(json.dumps(recursive).encode())
    for depth in (3, 30, 180):
        with pytest.raises(Unfit):
            kind.check_text('{"c":' * depth + "{}" + "}" * depth)
    kind.check_text('{"x":1,"c":{"y":1}}')


def test_a_large_value_with_much_wrong() -> None:
    for schema in (
        {"items": {"type": "string"}},
        {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]},
    ):
        with pytest.raises(Unfit) as caught:
            JsonType(json.dumps(schema).encode()).check_text(json.dumps([1] * 300_000))
        assert len(caught.value.violations) == 1


def test_all_that_is_wrong_with_a_small_value_is_told_up_to_a_number() -> None:
    with pytest.raises(Unfit) as caught:
        JsonType(b'{"items":{"type":"string"}}').check_text(json.dumps(list(range(50))))
    assert [each.field for each in caught.value.violations] == [f"[{number}]" for number in range(20)]


@pytest.fixture(scope="module")
def shape() -> ProtobufType:
    (declaration,) = [each for each in declared_streams(shapes()) if each.stream_id == "shape"]
    return ProtobufType(declaration.type_name, declaration.definition)


@pytest.mark.parametrize("number", range(300))
def test_garbage_as_a_payload(shape: ProtobufType, number: int) -> None:
    data = random.Random(number).randbytes(number % 60)
    with suppress(Unfit):
        shape.check_binary(data)
        shape.to_json(data)
