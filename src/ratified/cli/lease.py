"""``ratified lease``: grant, look at, keep alive and revoke leases."""

from __future__ import annotations

import time

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, HEX, id_of, in_json, print_json, shown

LEASE = typer.Argument(metavar="LEASE", help="Its id, as `lease grant` and `lease list` show it.")


def register(app: typer.Typer) -> None:
    lease = typer.Typer(help="Leases: keys that end with one are gone when nobody keeps it alive.")
    lease.command()(grant)
    lease.command()(revoke)
    lease.command()(timetolive)
    lease.command("list")(list_)
    lease.command("keep-alive")(keep_alive)
    app.add_typer(lease, name="lease")


@asks_members
def grant(
    ttl: int = typer.Argument(metavar="TTL", help="Time to live in seconds.", min=1),
    id: str = typer.Option(
        "0", "--id", help="The id that it is to have. [default: one that is free]", show_default=False
    ),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Grant a lease; its id goes to `put --lease`.

    \b
    Example:
      ratified lease grant 60
    """
    with connection.client() as client:
        granted = client.lease_grant(ttl, id=id_of(id, "--id"))
    if as_json:
        print_json({"id": f"{granted.id:x}", "ttl": granted.ttl})
    else:
        typer.echo(f"lease {granted.id:x} granted with TTL({granted.ttl}s)")


@asks_members
def revoke(lease: str = LEASE, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """End a lease, and delete its keys.

    \b
    Example:
      ratified lease revoke 32695f1d3ab2c5d1
    """
    with connection.client() as client:
        revision = client.lease_revoke(id_of(lease, "LEASE"))
    if as_json:
        print_json({"id": lease, "revision": revision})
    else:
        typer.echo(f"lease {lease} revoked")


@asks_members
def timetolive(
    lease: str = LEASE,
    keys: bool = typer.Option(False, "--keys", help="Show the keys that end with it."),
    hex: bool = HEX,
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Show what is left of a lease. Exits with 1 where there is none.

    \b
    Example:
      ratified lease timetolive 32695f1d3ab2c5d1 --keys
    """
    with connection.client() as client:
        left = client.lease_time_to_live(id_of(lease, "LEASE"), keys=keys)
    if left is None:
        if as_json:
            print_json(None)
        else:
            typer.echo(f"lease {lease} does not exist, or has ended")
        raise typer.Exit(1)
    if as_json:
        attached = [in_json("key", key, hex=hex) for key in left.keys]
        print_json({"id": f"{left.id:x}", "ttl": left.ttl, "granted_ttl": left.granted, "keys": attached})
        return
    typer.echo(f"lease {left.id:x} granted with TTL({left.granted}s), remaining({left.ttl}s)")
    for key in left.keys:
        typer.echo(shown(key, hex=hex))


@asks_members
def list_(*, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Show the ids of all leases.

    \b
    Example:
      ratified lease list
    """
    with connection.client() as client:
        ids = client.leases()
    if as_json:
        print_json([f"{id:x}" for id in ids])
    else:
        for id in ids:
            typer.echo(f"{id:x}")


@asks_members
def keep_alive(
    lease: str = LEASE,
    once: bool = typer.Option(False, "--once", help="Renew it once, and end."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Renew a lease three times in its time to live, until Ctrl-C. Exits with 1 when it is gone.

    \b
    Example:
      ratified lease keep-alive 32695f1d3ab2c5d1
    """
    id = id_of(lease, "LEASE")
    with connection.client() as client:
        while ttl := client.lease_keep_alive(id):
            if as_json:
                print_json({"id": f"{id:x}", "ttl": ttl})
            else:
                typer.echo(f"lease {id:x} keepalived with TTL({ttl}s)")
            if once:
                return
            time.sleep(ttl / 3)
    raise CommandFailed(f"lease {lease} does not exist, or has ended")
