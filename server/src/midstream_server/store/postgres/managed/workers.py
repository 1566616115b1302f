"""The workers of all replicas, as the database knows them."""

from midstream_server.store.postgres.transaction import RunRow, Transaction

_LOCKS = 0x6D69_6473
"""Of PostgreSQL's advisory locks, those of the workers of a namespace."""


async def keep_as_they_are(tx: Transaction, namespace: str) -> None:
    """No worker of the namespace opens from here until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock_shared($1, hashtext($2))", _LOCKS, namespace)


async def let_one_open(tx: Transaction, namespace: str) -> None:
    """Waits for those who keep them as they are."""
    await tx.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCKS, namespace)


async def have_other_code(tx: Transaction, run: RunRow, *, now_us: int) -> bool:
    """Whether a worker with a lease, at any replica, has code for the run's task that the run has not refused."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT 1 FROM workers WHERE namespace = $1 AND lease_until_us > $2 AND tasks ? $3 "
        "AND NOT tasks ->> $3 = ANY ($4))",
        run.namespace,
        now_us,
        run.task,
        run.refused_versions,
    )
    return found
