import { timingSafeEqual } from 'node:crypto';
import { canonicalText } from '@mayfly/audit';
import { type AuditEvent, Fault, type Freeze, type FreezeScope, Refusal } from '@mayfly/core';
import { type Database, orFault } from './database.ts';
import { encodeAudit } from './encode.ts';
import type { Prisma } from './generated/client.ts';
import type { HighWater } from './high-water.ts';

/** HMAC under a key that is not in the database: a writer in the database alone cannot make a row that decides. */
export type RowMac = (bytes: Uint8Array) => Buffer;

export interface StoredDocument {
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  readonly set: string;
  /** The checked document, plain JSON. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface DocumentSet {
  readonly epoch: number;
  /** Of the last recovery; versions of before it may have been made anew. */
  readonly recovered: number;
  readonly freezes: readonly Freeze[];
  readonly documents: readonly StoredDocument[];
}

/** One small read: what has moved since. */
export interface EpochRead {
  readonly epoch: number;
  /** The database is older than what this process has known. */
  readonly isOlder: boolean;
  /** Some assertions do not count any more. */
  readonly hasCuts: boolean;
}

export interface DocumentChanges {
  readonly set: string;
  readonly upserts: readonly {
    readonly kind: string;
    readonly name: string;
    readonly body: Readonly<Record<string, unknown>>;
  }[];
  readonly deletions: readonly { readonly kind: string; readonly name: string }[];
  readonly takeOver: boolean;
  /** The epoch that the plan was made from; another one in force refuses nothing but is planned again by the caller. */
  readonly expectedEpoch: number;
  readonly actor: string;
  event(change: { kind: string; name: string; version: number | null; set: string }): AuditEvent;
}

/** The set whose documents only the files of MAYFLY_BUNDLE change. */
export const bundleSet = 'bundle';

export interface FreezeStatus extends Freeze {
  readonly at: Date;
  /** No intent beneath it is under way any more. */
  readonly drained: boolean;
}

export interface Documents {
  /** What is in force, every row's MAC checked: one that does not hold is a Fault, never skipped. */
  load(): Promise<DocumentSet>;
  /** `isOlder`: the database is an older state than was known, and nothing is issued (contract.md section 6). */
  readEpoch(): Promise<EpochRead>;
  version(kind: string, name: string, version: number): Promise<StoredDocument | undefined>;
  history(
    kind: string,
    name: string,
  ): Promise<readonly { version: number; createdAt: Date; createdBy: string }[]>;
  /** Atomic; unchanged documents make no version; raises the epoch when anything changed. `stale`: plan again. */
  apply(changes: DocumentChanges): Promise<{ kind: 'applied'; epoch: number } | { kind: 'stale' }>;
  /** In force for every intent that commits afterwards, on every replica. */
  freeze(on: Freeze, audit: AuditEvent): Promise<void>;
  thaw(on: FreezeScope, audit: AuditEvent): Promise<void>;
  freezeStatus(): Promise<readonly FreezeStatus[]>;
}

export function createDocuments(database: Database, mac: RowMac, highWater: HighWater): Documents {
  const { prisma } = database;
  return {
    load: () =>
      orFault(() => prisma.$transaction((tx) => load(tx, mac), { isolationLevel: 'RepeatableRead' })),
    readEpoch: async () => {
      const text = `select epoch::float8 as epoch, needs_recovery(c, $1::jsonb) as "isOlder",
           exists (select from subject_cut) as "hasCuts" from config_epoch c`;
      const values = [JSON.stringify(highWater.known)];
      const [row] = await database.call<EpochRead>('read_epoch', text, values);
      return row ?? { epoch: 0, isOlder: false, hasCuts: false };
    },
    version: async (kind, name, version) => {
      const row = await orFault(() =>
        prisma.document.findUnique({ where: { kind_name_version: { kind, name, version } } }),
      );
      return row === null ? undefined : open(row, '', mac);
    },
    history: (kind, name) =>
      orFault(() =>
        prisma.document.findMany({
          where: { kind, name },
          orderBy: { version: 'desc' },
          select: { version: true, createdAt: true, createdBy: true },
        }),
      ),
    apply: (changes) => orFault(() => prisma.$transaction((tx) => apply(tx, changes, mac))),
    freeze: (on, audit) => setFreeze(database, { ...on, frozen: true }, audit),
    thaw: (on, audit) => setFreeze(database, { ...on, reason: null, frozen: false }, audit),
    freezeStatus: () => database.call<FreezeStatus>('freeze_status', 'select * from freeze_status()', []),
  };
}

type Transaction = Prisma.TransactionClient;

async function load(tx: Transaction, mac: RowMac): Promise<DocumentSet> {
  const epoch = await tx.configEpoch.findUniqueOrThrow({ where: { one: true } });
  const active = await tx.documentActive.findMany({ orderBy: [{ kind: 'asc' }, { name: 'asc' }] });
  const rows = await tx.document.findMany({
    where: { OR: active.map(({ kind, name, version }) => ({ kind, name, version })) },
  });
  const byKey = new Map(rows.map((row) => [`${row.kind}\n${row.name}`, row]));
  const documents = active.map((pointer) => {
    const { kind, name, version, setName } = pointer;
    const row = byKey.get(`${kind}\n${name}`);
    if (row === undefined || !sameMac(pointer.mac, mac(activeBytes(kind, name, version, setName))))
      throw tampered(kind, name);
    return open(row, setName, mac);
  });
  const freezes = await tx.$queryRaw<Freeze[]>`select scope, name, reason from frozen`;
  return { epoch: Number(epoch.epoch), recovered: Number(epoch.recovered), freezes, documents };
}

async function apply(tx: Transaction, changes: DocumentChanges, mac: RowMac) {
  const { set, upserts, deletions, takeOver, expectedEpoch, actor } = changes;
  // The lock of all writers of what decides.
  const [epoch] = await tx.$queryRaw<{ epoch: bigint }[]>`select epoch from config_epoch for update`;
  if (Number(epoch?.epoch) !== expectedEpoch) return { kind: 'stale' as const };
  const events: AuditEvent[] = [];
  for (const { kind, name, body } of upserts) {
    const version = await upsert(tx, { kind, name, body, set, takeOver, actor, mac });
    if (version !== null) events.push(changes.event({ kind, name, version, set }));
  }
  for (const { kind, name } of deletions) {
    const { count } = await tx.documentActive.deleteMany({ where: { kind, name, setName: set } });
    if (count > 0) events.push(changes.event({ kind, name, version: null, set }));
  }
  if (events.length === 0) return { kind: 'applied' as const, epoch: expectedEpoch };
  for (const event of events) await appendAudit(tx, event);
  const bundle = set === bundleSet ? { bundleVersion: { increment: 1 } } : {};
  const raised = await tx.configEpoch.update({
    where: { one: true },
    data: { epoch: { increment: 1 }, ...bundle },
  });
  return { kind: 'applied' as const, epoch: Number(raised.epoch) };
}

interface Upsert {
  readonly kind: string;
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly set: string;
  readonly takeOver: boolean;
  readonly actor: string;
  readonly mac: RowMac;
}

/** The new version, or null when nothing changed. */
async function upsert(
  tx: Transaction,
  { kind, name, body, set, takeOver, actor, mac }: Upsert,
): Promise<number | null> {
  const pointer = await tx.documentActive.findUnique({ where: { kind_name: { kind, name } } });
  if (pointer !== null && pointer.setName !== set) {
    if (pointer.setName === bundleSet) throw new Refusal('bundle_read_only', { detail: `${kind} ${name}` });
    if (!takeOver)
      throw new Refusal('set_conflict', { detail: `${kind} ${name} belongs to set ${pointer.setName}` });
  }
  const bytes = new Uint8Array(Buffer.from(canonicalText(body)));
  const latest = await tx.document.findFirst({ where: { kind, name }, orderBy: { version: 'desc' } });
  const inForce =
    pointer === null
      ? null
      : await tx.document.findUnique({
          where: { kind_name_version: { kind, name, version: pointer.version } },
        });
  const unchanged = inForce !== null && Buffer.from(inForce.body).equals(bytes);
  if (unchanged && pointer?.setName === set) return null;
  const version = unchanged ? inForce.version : (latest?.version ?? 0) + 1;
  if (!unchanged) {
    const data = {
      kind,
      name,
      version,
      body: bytes,
      mac: signed(mac, versionBytes(kind, name, version, bytes)),
      createdBy: actor,
    };
    await tx.document.create({ data });
  }
  const active = { version, setName: set, mac: signed(mac, activeBytes(kind, name, version, set)) };
  await tx.documentActive.upsert({
    where: { kind_name: { kind, name } },
    create: { kind, name, ...active },
    update: active,
  });
  return version;
}

async function setFreeze(
  database: Database,
  { scope, name, reason, frozen }: FreezeScope & { readonly reason: string | null; readonly frozen: boolean },
  audit: AuditEvent,
): Promise<void> {
  const text = 'select set_freeze($1, $2, $3, $4, $5::jsonb)';
  const values = [scope, name, reason, frozen, JSON.stringify(encodeAudit(audit))];
  await database.call('set_freeze', text, values);
}

async function appendAudit(tx: Transaction, event: AuditEvent): Promise<void> {
  await tx.$executeRaw`select append_audit(${JSON.stringify(encodeAudit(event))}::jsonb)`;
}

function open(
  row: { kind: string; name: string; version: number; body: Uint8Array; mac: Uint8Array },
  set: string,
  mac: RowMac,
) {
  const { kind, name, version, body } = row;
  if (!sameMac(row.mac, mac(versionBytes(kind, name, version, body)))) throw tampered(kind, name);
  return {
    kind,
    name,
    version,
    set,
    body: JSON.parse(Buffer.from(body).toString('utf8')) as Record<string, unknown>,
  };
}

function versionBytes(kind: string, name: string, version: number, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(['version', kind, name, version])}\n`), body]);
}

function activeBytes(kind: string, name: string, version: number, set: string): Buffer {
  return Buffer.from(JSON.stringify(['active', kind, name, version, set]));
}

function signed(mac: RowMac, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(mac(bytes));
}

function sameMac(left: Uint8Array, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

function tampered(kind: string, name: string): Fault {
  return new Fault('internal', {
    effect: 'none',
    detail: `${kind} ${name} was not written by this installation`,
  });
}
