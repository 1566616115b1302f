"""Finds the streams that a descriptor set declares."""

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MessageOptions

from midstream.v1 import input_stream_pb2
from midstream_server.domain.schemas.declaration import Declaration, SchemaKind, read_options
from midstream_server.domain.schemas.descriptor_set import Files, messages_of, prune, read_files
from midstream_server.domain.schemas.errors import schema_invalid
from midstream_server.domain.schemas.protobuf_type import ProtobufType

MAX_DEFINITION_BYTES = 256 * 1024
"""Of one stream's type, with all that it needs."""


def declared_streams(descriptor_set: bytes) -> list[Declaration]:
    """Every message with the option `(midstream.v1.input_stream)`, compiled once to see that it works.

    Raises Refused: SCHEMA_INVALID, with the file.
    """
    try:
        return _declared_streams(read_files(descriptor_set))
    except UnicodeDecodeError as error:
        # Names are not checked when a descriptor set is parsed.
        raise schema_invalid(f"a name in the descriptor set is no UTF-8: {error}") from None


def _declared_streams(files: Files) -> list[Declaration]:
    declarations: dict[str, Declaration] = {}
    types: dict[str, str] = {}
    for file in files.own:
        for message in messages_of(files.pool.FindFileByName(file.name)):
            options = _stream_options(message)
            if options is None:
                continue
            kept = read_options(options, file=file.name, where=f"message {message.full_name}: ")
            stream_id = options.id
            if stream_id in types:
                raise schema_invalid(
                    f"messages {types[stream_id]} and {message.full_name} both declare the stream {stream_id!r}",
                    file=file.name,
                )
            pruned = prune(files, message)
            definition = FileDescriptorSet(file=pruned).SerializeToString(deterministic=True)
            if len(definition) > MAX_DEFINITION_BYTES:
                raise schema_invalid(
                    f"message {message.full_name} needs {len(definition)} bytes of descriptors, at most "
                    f"{MAX_DEFINITION_BYTES} are allowed",
                    file=file.name,
                )
            ProtobufType(message.full_name, definition).check(file.name)
            types[stream_id] = message.full_name
            declarations[stream_id] = Declaration(stream_id, SchemaKind.PROTOBUF, message.full_name, kept, definition)
    if not declarations:
        raise schema_invalid(
            "no message of the descriptor set has the option (midstream.v1.input_stream)", file=files.own[-1].name
        )
    return list(declarations.values())


def _stream_options(message: Descriptor) -> input_stream_pb2.InputStreamOptions | None:
    # The set has a pool of its own, whose option is another type of the same name.
    options = MessageOptions.FromString(message.GetOptions().SerializeToString())
    if not options.HasExtension(input_stream_pb2.input_stream):
        return None
    return options.Extensions[input_stream_pb2.input_stream]
