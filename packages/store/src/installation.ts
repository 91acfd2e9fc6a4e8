import { type Database, orFault } from './database.ts';
import { signInKeptSeconds } from './sign-in.ts';

export interface DatabaseStatus {
  readonly serverVersion: string;
  /** The login could change what it must not: superuser, or owner of the tables. */
  readonly strongerLogin: string | null;
  readonly environment: string | null;
}

/** `dev` marks its database; `serve` refuses that one and `dev` any other. Answers what it is marked as, and whether it came from another cluster. */
export function ensureInstallation(
  { prisma }: Database,
  environment: 'dev' | 'production',
): Promise<{ environment: string; isMoved: boolean }> {
  return orFault(async () => {
    const [system] = await prisma.$queryRaw<
      { id: string }[]
    >`select system_identifier::text as id from pg_control_system()`;
    const existing = await prisma.installation.findUnique({ where: { one: true } });
    // A dump that was restored into another cluster: nobody knows how old it is.
    if (existing !== null)
      return {
        environment: existing.environment,
        isMoved: existing.systemIdentifier !== (system?.id ?? 'unknown'),
      };
    await prisma.installation.createMany({
      data: [{ environment, systemIdentifier: system?.id ?? 'unknown' }],
      skipDuplicates: true,
    });
    return { environment, isMoved: false };
  });
}

export async function readDatabaseStatus(database: Database): Promise<DatabaseStatus> {
  const text = `select current_setting('server_version') as version, r.rolname as login,
      r.rolsuper or c.relowner = r.oid or pg_has_role(r.oid, c.relowner, 'member') as strong,
      (select environment from installation) as environment
    from pg_roles r, pg_class c where r.rolname = current_user and c.oid = 'public.audit_entry'::regclass`;
  const [row] = await database.call<{
    version: string;
    login: string;
    strong: boolean;
    environment: string | null;
  }>('database_status', text, []);
  return {
    serverVersion: row?.version ?? 'unknown',
    strongerLogin: row?.strong ? row.login : null,
    environment: row?.environment ?? null,
  };
}

export async function databaseNow(database: Database): Promise<Date> {
  const [row] = await database.call<{ now: Date }>('database_now', 'select clock_timestamp() as now', []);
  return row?.now ?? new Date(Number.NaN);
}

/** Partitions for the days to come, and those past retention away; both by functions of the owner. */
export async function keepPartitions(database: Database, retentionDays: number): Promise<void> {
  await database.call('ensure_partitions', 'select ensure_partitions(7)', []);
  await database.call('drop_partitions', 'select drop_partitions($1)', [retentionDays]);
  // Kept past every skew that an attestor may allow.
  const sweep = `with c as (delete from counter where window_start < now() - interval '2 hours'),
    r as (delete from replay where expires_at < now() - interval '1 hour'),
    d as (delete from sighting where at < now() - interval '1 day'),
    q as (delete from quarantine where until < now()),
    u as (delete from subject_cut where until < now()),
    e as (delete from security_event where received_at < now() - interval '8 days'),
    s as (delete from sign_in where expires_at < now() - make_interval(secs => $1))
    delete from idempotency where expires_at < now()`;
  await database.call('sweep', sweep, [signInKeptSeconds]);
}
