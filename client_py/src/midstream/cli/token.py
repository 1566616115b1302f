"""`midstream token`: access tokens for frontends."""

import click

from midstream import AccessToken, Client, Scope, can_cancel, can_read, can_send, durations
from midstream.cli import output, shapes
from midstream.cli.options import Options, common_options
from midstream.cli.running import with_client
from midstream.credentials import read_claims


@click.group(short_help="Make and revoke access tokens.")
@common_options()
def token() -> None:
    """Make and revoke access tokens, for frontends. Needs an API key in MIDSTREAM_API_KEY.

    \b
    Examples:
      midstream token mint --read RUN --send RUN/user-message --subject user-17
      midstream token revoke TOKEN_ID
    """


@token.command("mint", short_help="Make an access token.")
@click.option(
    "--send", "sends", multiple=True, metavar="RUN[/STREAM]", help="May send to this run, or one stream of it."
)
@click.option("--read", "reads", multiple=True, metavar="RUN[/STREAM]", help="May see this run, or one stream of it.")
@click.option("--cancel", "cancels", multiple=True, metavar="RUN", help="May cancel this run.")
@click.option("--subject", default="", metavar="NAME", help="Who will have it: the sender of the records it sends.")
@click.option("--ttl", default="1h", show_default=True, metavar="DURATION", help="How long it is valid, up to 30d.")
@click.option("--max-uses", type=click.IntRange(1), metavar="N", help="How many records it may send.  [default: any]")
@common_options()
@click.pass_obj
def mint(
    options: Options,
    sends: tuple[str, ...],
    reads: tuple[str, ...],
    cancels: tuple[str, ...],
    subject: str,
    ttl: str,
    max_uses: int | None,
) -> None:
    """Make an access token that may do what the options say, each as often as needed, and print it.

    The token is a secret; its id is not. Without --json only the token goes to standard output.

    \b
    Examples:
      midstream token mint --read RUN --send RUN/user-message --subject user-17
      midstream token mint --send RUN/approval --max-uses 1 --ttl 7d
      TOKEN=$(midstream token mint --read RUN)
      midstream token mint --read RUN --json | jq -r .token_id
    """
    scopes = [
        *(can_send(*_split(target)) for target in sends),
        *(can_read(*_split(target)) for target in reads),
        *(can_cancel(run_id) for run_id in cancels),
    ]
    if not scopes:
        raise click.UsageError("A token that may do nothing: give --send, --read or --cancel.")
    try:
        durations.parse(ttl)
    except ValueError as error:
        raise click.UsageError(f"--ttl: {error}") from error

    async def work(client: Client) -> None:
        minted = await client.mint_token(scopes, subject=subject, ttl=ttl, max_uses=max_uses)
        if options.as_json:
            output.json_line(_shape(minted, scopes))
        else:
            click.echo(f"Token {minted.token_id}, valid until {shapes.time(minted.expire_time)}.", err=True)
            click.echo(minted.token)

    with_client(options, work)


@token.command("revoke", short_help="Make a token worthless.")
@click.argument("token", metavar="TOKEN")
@common_options()
@click.pass_obj
def revoke(options: Options, token: str) -> None:
    """Make a token worthless at once, for ever. TOKEN is its id, or the token itself.

    \b
    Examples:
      midstream token revoke 01J9Z6W0G7E6Y3M8Q2T4V5X7B9
    """
    claims = read_claims(token)
    token_id = token if claims is None else claims.token_id

    async def work(client: Client) -> None:
        await client.revoke_token(token)
        if options.as_json:
            output.json_line({"token_id": token_id})
        else:
            output.line(f"Token {token_id} is revoked.")

    with_client(options, work)


def _split(target: str) -> tuple[str, str | None]:
    run_id, _, stream_id = target.partition("/")
    return run_id, stream_id or None


def _shape(minted: AccessToken, scopes: list[Scope]) -> shapes.Json:
    return {
        "token": minted.token,
        "token_id": minted.token_id,
        "expire_time": shapes.time(minted.expire_time),
        "scopes": [str(scope) for scope in scopes],
    }
