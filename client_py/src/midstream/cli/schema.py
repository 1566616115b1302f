"""`midstream schema`: what may be sent on which stream."""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from midstream import Client, InputStream, RegisteredSchema, Schema, StreamOptions
from midstream.cli import output, shapes, text
from midstream.cli.options import Options, common_options
from midstream.cli.proto_text import proto_text
from midstream.cli.running import with_client
from midstream.schema_request import has_schema, request_for
from midstream.v1.schema_service_pb2 import RegisterSchemasRequest


class BadSource(click.ClickException):
    """Nothing can be registered from what was named."""

    exit_code = 2


@click.group(short_help="Register and show what may be sent on which stream.")
@common_options()
def schema() -> None:
    """Register and show what may be sent on which stream. Needs an API key where the server has any.

    \b
    Examples:
      midstream schema push agent.streams
      midstream schema list
      midstream schema show user-message
    """


@schema.command("push", short_help="Register schemas.")
@click.argument("sources", metavar="SOURCE...", nargs=-1)
@click.option("--json-schema", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="With --stream.")
@click.option("--stream", "stream_id", metavar="STREAM", help="The stream of --json-schema.")
@click.option("--directory", default=".", type=click.Path(exists=True, file_okay=False), help="Where modules are.")
@click.option("--force", is_flag=True, help="Register what breaks stored records or other programs, too.")
@click.option("--dry-run", is_flag=True, help="Check everything, register nothing.")
@common_options()
@click.pass_obj
def push(
    options: Options,
    sources: tuple[str, ...],
    json_schema: Path | None,
    stream_id: str | None,
    directory: str,
    force: bool,
    dry_run: bool,
) -> None:
    """Register what may be sent on which stream: all of it or nothing. The server then refuses what does not fit.

    SOURCE is a Python module, for all streams that it declares or imports; MODULE:STREAM for one of them; or a file
    with a descriptor set, for all messages in it with the option (midstream.v1.input_stream): `buf build -o FILE` and
    `protoc --include_imports --descriptor_set_out=FILE` write one.

    \b
    Examples:
      midstream schema push agent.streams
      midstream schema push agent.binpb --dry-run
      midstream schema push --stream approval --json-schema approval.schema.json
    """
    if (json_schema is None) != (stream_id is None):
        raise click.UsageError("--json-schema and --stream go together.")
    if not sources and json_schema is None:
        raise click.UsageError("Name a module, a file with a descriptor set, or --json-schema with --stream.")
    requests = [_request(source, directory) for source in sources]
    if json_schema is not None and stream_id is not None:
        declared = StreamOptions().to_proto(stream_id)
        described = RegisterSchemasRequest.JsonStream(options=declared, schema=json_schema.read_text())
        requests.append(RegisterSchemasRequest(json_streams=[described]))
    request = RegisterSchemasRequest(force=force, validate_only=dry_run)
    for each in requests:
        request.json_streams.extend(each.json_streams)
        # Serialised sets of files, put one behind the other, are the set of all of them.
        request.file_descriptor_set += each.file_descriptor_set

    async def work(client: Client) -> None:
        for each in await client.schemas.register_request(request):
            _print_registered(options, each, dry_run)

    with_client(options, work)


@schema.command("list", short_help="List schemas.")
@click.argument("stream", required=False, default="")
@common_options()
@click.pass_obj
def list_schemas(options: Options, stream: str) -> None:
    """List the newest schema of every stream, or all of STREAM.

    \b
    Examples:
      midstream schema list
      midstream schema list user-message
    """

    async def work(client: Client) -> None:
        found = [each async for each in client.schemas.list(stream)]
        if options.as_json:
            for each in found:
                output.json_line(_shape(each))
        elif found:
            rows = [(each.stream_id, str(each.version), _kind(each), _promises(each.options)) for each in found]
            output.table(("stream", "version", "type", "limits"), rows, right=("version",))
        else:
            output.line("No schema is registered: what is sent is stored as it is.")

    with_client(options, work)


@schema.command("show", short_help="Show a schema, whole.")
@click.argument("stream")
@click.option("--version", type=click.IntRange(1), help="This one.  [default: the newest]")
@common_options()
@click.pass_obj
def show(options: Options, stream: str, version: int | None) -> None:
    """Show what may be sent on STREAM.

    \b
    Examples:
      midstream schema show user-message
      midstream schema show user-message --version 2 --json | jq .json_schema
    """

    async def work(client: Client) -> None:
        found = await client.schemas.get(stream, version or 0)
        if options.as_json:
            output.json_line({**_shape(found), **_definition(found)})
            return
        output.line(output.bold(text.printable(found.stream_id)), f"  version {found.version}")
        output.line(output.dim(f"  {_kind(found)}  registered {text.time(found.register_time)}"))
        if promises := _promises(found.options):
            output.line(f"  {promises}")
        if found.json_schema is not None:
            output.paragraph(json.dumps(found.json_schema, indent=2, ensure_ascii=False))
        else:
            output.paragraph(proto_text(found.file_descriptor_set))

    with_client(options, work)


@schema.command("settings", short_help="Streams without a schema: accept or refuse them.")
@click.option("--undeclared", type=click.Choice(["accept", "refuse"]), help="Set it, for the whole namespace.")
@common_options()
@click.pass_obj
def settings(options: Options, undeclared: str | None) -> None:
    """Show or set what becomes of records for streams that have no schema.

    \b
    Examples:
      midstream schema settings
      midstream schema settings --undeclared refuse
    """

    async def work(client: Client) -> None:
        if undeclared is not None:
            await client.schemas.refuse_undeclared(undeclared == "refuse")
        refuses = await client.schemas.refuses_undeclared()
        if options.as_json:
            output.json_line({"undeclared": "refuse" if refuses else "accept"})
        else:
            output.line(f"Records for streams without a schema are {'refused' if refuses else 'stored as they are'}.")

    with_client(options, work)


@schema.command("include", short_help="Where the .proto files are that yours import.")
def include() -> None:
    """Print the flag with which protoc finds what your .proto files import: midstream/v1/input_stream.proto and
    buf/validate/validate.proto.

    \b
    Examples:
      protoc -I proto $(midstream schema include) --python_out=. proto/agent.proto
      protoc -I proto $(midstream schema include) --include_imports --descriptor_set_out=agent.binpb proto/agent.proto
    """
    import midstream

    click.echo(f"-I{Path(midstream.__file__).parent / 'include'}")


def _request(source: str, directory: str) -> RegisterSchemasRequest:
    path = Path(source)
    if path.is_file():
        return RegisterSchemasRequest(file_descriptor_set=path.read_bytes())
    sys.path.insert(0, str(Path(directory).resolve()))
    module_name, _, name = source.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadSource(
            f"{source!r} is neither a file nor a module that can be imported ({error}). Modules are written with dots, "
            "and looked for in --directory and PYTHONPATH."
        ) from error
    there = {key: value for key, value in vars(module).items() if isinstance(value, InputStream)}
    if name and name not in there:
        raise BadSource(f"{module_name} has no stream {name!r}. Streams in it: {', '.join(sorted(there)) or 'none'}.")
    streams: list[InputStream[Any]] = [there[name]] if name else [each for each in there.values() if has_schema(each)]
    if not streams:
        raise BadSource(f"{module_name} declares no stream with a type: nothing to register.")
    try:
        return request_for(streams)
    except TypeError as error:
        raise BadSource(str(error)) from error


def _print_registered(options: Options, registered: RegisteredSchema, dry_run: bool) -> None:
    schema = registered.schema
    if options.as_json:
        output.json_line({**_shape(schema), "created": registered.created, "warnings": list(registered.warnings)})
        return
    word = "is there already" if not registered.created else "would be registered" if dry_run else "is registered"
    output.line(output.bold(text.printable(schema.stream_id)), f"  version {schema.version} {word}: {_kind(schema)}")
    for warning in registered.warnings:
        output.line(output.styled(f"  {warning}", "yellow"))


def _kind(schema: Schema) -> str:
    return text.printable(schema.type_name) if schema.type_name else "JSON Schema"


def _promises(options: StreamOptions) -> str:
    words: Sequence[str] = (
        f"payload up to {options.max_payload_bytes:,} bytes" if options.max_payload_bytes else "",
        f"up to {options.max_unread_records:,} unread" if options.max_unread_records else "",
        "the oldest make room" if options.when_full == "drop_oldest" else "",
        "backends only" if options.backend_only else "",
    )
    return ", ".join(filter(None, words))


def _shape(schema: Schema) -> shapes.Json:
    return {
        "stream_id": schema.stream_id,
        "version": schema.version,
        "type_name": schema.type_name or None,
        "max_payload_bytes": schema.options.max_payload_bytes,
        "max_unread_records": schema.options.max_unread_records,
        "when_full": schema.options.when_full,
        "backend_only": schema.options.backend_only,
        "register_time": shapes.time(schema.register_time),
    }


def _definition(schema: Schema) -> shapes.Json:
    if schema.json_schema is not None:
        return {"json_schema": schema.json_schema}
    return {"file_descriptor_set": shapes.base64_text(schema.file_descriptor_set)}
