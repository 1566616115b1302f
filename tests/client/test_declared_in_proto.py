"""Streams that are declared in .proto, and what is registered for declared streams."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, assert_type

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from pydantic import BaseModel, Field

from acme.v1.agent_pb2 import Attachment, Budget, Note, UserMessage
from midstream import InputStream, PayloadError, Record, RecordInvalid, Result, StreamOptions, input_stream
from midstream.schema_request import has_schema, request_for
from midstream.v1 import record_pb2
from midstream.v1.input_stream_pb2 import InputStreamOptions

ROOT = Path(__file__).resolve().parents[2]


class Approval(BaseModel):
    approved: bool
    comment: str = Field(default="", alias="note", max_length=100)


def test_id_type_and_limits_come_from_the_message() -> None:
    messages = input_stream(UserMessage)
    assert_type(messages, InputStream[UserMessage])
    assert (messages.id, messages.type) == ("user-message", UserMessage)
    assert messages.options == StreamOptions(max_payload_bytes=8192)
    assert input_stream(Budget).options == StreamOptions(
        max_unread_records=1, when_full="drop_oldest", backend_only=True
    )


async def _views_have_the_declared_type(messages: InputStream[UserMessage]) -> None:
    """Only for the type checker: never called."""
    assert_type(messages.peek(), UserMessage | None)
    assert_type(await messages.once(timeout="5m"), Result[UserMessage])
    assert_type((await messages.wait()).unwrap(), UserMessage)
    assert_type(await messages.drain(), list[UserMessage])
    messages.on(lambda message: assert_type(message, UserMessage))


def test_a_wrong_shape_does_not_pass_the_type_checker(tmp_path: Path) -> None:
    """Every line that ends with `# wrong` is one, and no other."""
    module = inspect.cleandoc(
        """
        from pydantic import BaseModel
        from acme.v1.agent_pb2 import Budget, UserMessage
        from midstream import InputStream, input_stream

        class Approval(BaseModel):
            approved: bool

        messages = input_stream(UserMessage)
        approval = input_stream("approval", Approval, max_unread_records=1, when_full="drop_oldest")

        def takes_a_budget(budget: Budget) -> None: ...
        def takes_a_message(message: UserMessage) -> None: ...

        async def use() -> None:
            await messages.send("run_1", UserMessage(text="hello"))
            await messages.send("run_1", Budget(cents=1))  # wrong
            await messages.send("run_1", {"text": "hello"})  # wrong
            await messages.send("run_1", UserMessage(txt="hello"))  # wrong
            await approval.send("run_1", Approval(approved=True))
            await approval.send("run_1", {"approved": True})  # wrong
            messages.on(takes_a_message)
            messages.on(takes_a_budget)  # wrong
            (await messages.once()).unwrap().text.upper()
            (await messages.once()).unwrap().txt  # wrong
            (await messages.wait(timeout="7d")).output.text  # wrong
            messages.peek().text  # wrong
            (await approval.drain())[0].aproved  # wrong

        other: InputStream[Budget] = messages  # wrong
        input_stream("a", Approval, when_full="drop_newest")  # wrong
        input_stream(Approval)  # wrong
        """
    )
    (tmp_path / "shapes.py").write_text(module)
    command = (sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", "shapes.py")
    paths = f"{ROOT / 'client_py/src'}:{ROOT / 'tests'}"
    cache = {"MYPYPATH": paths, "MYPY_CACHE_DIR": str(tmp_path), "PATH": str(Path(sys.executable).parent)}
    checked = subprocess.run(command, cwd=tmp_path, env=cache, capture_output=True, text=True, check=False)
    found = {
        int(line.split(":")[1]) for line in checked.stdout.splitlines() if re.match(r"shapes.py:\d+: error:", line)
    }
    wrong = {number for number, line in enumerate(module.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: input_stream(Note), "does not say on which stream"),
        (lambda: input_stream("user-message", UserMessage), r"write input_stream\(UserMessage\)"),
        (lambda: input_stream(UserMessage, max_unread_records=1), "declares its stream in the .proto"),  # type: ignore[call-overload]
        (lambda: input_stream(Approval), "takes a protobuf message class"),  # type: ignore[type-var]
        (lambda: input_stream(7), "takes a protobuf message class"),  # type: ignore[call-overload]
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declare: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        declare()


@pytest.mark.parametrize(
    "options", [{"max_payload_bytes": 0}, {"max_unread_records": -1}, {"when_full": "drop_newest"}]
)
def test_a_limit_that_no_stream_can_keep_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        input_stream("approval", Approval, **options)


def test_what_is_registered_for_messages_is_their_file_without_what_servers_know() -> None:
    request = request_for([input_stream(UserMessage), input_stream(Budget)])
    described = FileDescriptorSet.FromString(request.file_descriptor_set)
    assert [file.name for file in described.file] == ["acme/v1/agent.proto"]
    assert not request.json_streams


def test_what_is_registered_for_a_model_is_what_its_stream_takes() -> None:
    request = request_for([input_stream("approval", Approval, max_unread_records=5, backend_only=True)])
    (declared,) = request.json_streams
    assert declared.options == InputStreamOptions(
        id="approval",
        max_unread_records=5,
        when_full=InputStreamOptions.WHEN_FULL_REJECT,
        backend_only=True,
    )
    schema = json.loads(declared.schema)
    assert schema["required"] == ["approved"]
    assert schema["properties"]["note"]["maxLength"] == 100  # the alias is what travels
    assert not request.file_descriptor_set


def test_two_declarations_of_one_stream_that_differ_are_refused() -> None:
    class Other(BaseModel):
        approved: int

    with pytest.raises(TypeError, match="declared twice"):
        request_for([input_stream("approval", Approval), input_stream("approval", Other)])


@pytest.mark.parametrize("stream", [input_stream("a"), input_stream("a", bytes), input_stream("a", Note)])
def test_what_has_no_schema_cannot_be_registered(stream: InputStream[Any]) -> None:
    assert not has_schema(stream)
    with pytest.raises(TypeError, match="no schema to register"):
        request_for([stream])


def test_a_stored_record_that_does_not_fit_is_named() -> None:
    stored = record_pb2.Record(seq=12, schema_version=3)
    stored.payload.json = '{"approved": "perhaps"}'
    with pytest.raises(RecordInvalid) as refused:
        input_stream("approval", Approval).decode(Record.from_proto(stored))
    error = refused.value
    assert isinstance(error, PayloadError)
    assert (error.stream_id, error.seq, error.schema_version) == ("approval", 12, 3)
    assert set(error.fields) == {"approved"}
    assert "record 12 on stream 'approval', checked against schema version 3" in str(error)


def test_json_on_a_message_stream_is_read_as_the_message() -> None:
    stored = record_pb2.Record(seq=1)
    stored.payload.json = '{"kind": "KIND_WRAP_UP", "attachments": [{"name": "a.txt"}]}'
    message = input_stream(UserMessage).decode(Record.from_proto(stored))
    assert message == UserMessage(kind=UserMessage.KIND_WRAP_UP, attachments=[Attachment(name="a.txt")])
