import { auditEvent, Refusal } from '@mayfly/core';
import {
  type ActiveDocument,
  type AnyDocument,
  type Change,
  diffDocuments,
  formatError,
  formatFinding,
  isKind,
  type Kind,
  lint,
  lintTypeChanges,
  mayWriteDocument,
  type ParsedDocument,
  parseDocuments,
  reopenDocument,
  setConflicts,
} from '@mayfly/policy';
import { bundleSet } from '@mayfly/store';
import type { Broker } from '../broker.ts';
import { isLoopbackHost } from '../net.ts';
import { holdsRole, holdsUnscoped, type Principal } from './authenticate.ts';
import { DocumentsRefused } from './errors.ts';
import { mediaType } from './request.ts';
import { type Call, ok, type Route } from './route.ts';

/** A policy that moves while a plan is applied is planned again this often. */
const roundsMax = 4;

const yaml = 'application/yaml';

const collections: readonly { path: string; kind: Kind }[] = [
  { path: 'issuers', kind: 'TrustedIssuer' },
  { path: 'providers', kind: 'Provider' },
  { path: 'servers', kind: 'ResourceServer' },
  { path: 'templates', kind: 'GrantTemplate' },
  { path: 'bindings', kind: 'RoleBinding' },
];

const readers = ['admin', 'template-admin', 'operator', 'auditor'] as const;

export const documentRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/plan',
    access: ['admin', 'template-admin', 'auditor'],
    says: 'What applying these documents would change',
    consumes: yaml,
    query: ['set', 'prune', 'takeOver'],
    handle: async (call) => {
      // What a plan says of documents outside a scope would be read through it.
      if (
        !holdsRole(call.principal, ['admin', 'template-admin']) &&
        !holdsUnscoped(call.principal, ['auditor'])
      )
        throw new Refusal('role_required', { detail: 'auditor without scope' });
      return ok(await planned(call, readRequest(call)));
    },
  },
  {
    method: 'POST',
    path: '/v1/apply',
    access: ['admin', 'template-admin'],
    says: 'Applies documents as one set, atomically',
    consumes: yaml,
    query: ['set', 'prune', 'takeOver'],
    handle: apply,
  },
  ...collections.flatMap(({ path, kind }): Route[] => [
    {
      method: 'GET',
      path: `/v1/${path}`,
      access: readers,
      says: `Lists documents of kind ${kind}`,
      query: ['limit', 'cursor'],
      handle: async (call) => ok({ items: (await visible(call, kind)).map(summary), nextCursor: null }),
    },
    {
      method: 'GET',
      path: `/v1/${path}/:name`,
      access: readers,
      says: `Shows a document of kind ${kind} with all defaults`,
      handle: async (call) => {
        const found = (await visible(call, kind)).find(({ name }) => name === call.request.params['name']);
        if (found === undefined) throw new Refusal('not_found');
        return ok({ ...summary(found), document: found.body });
      },
    },
  ]),
];

interface ApplyRequest {
  readonly set: string;
  readonly prune: boolean;
  readonly takeOver: boolean;
  readonly documents: readonly ParsedDocument[];
  readonly text: string;
}

function readRequest({ request, broker }: Call): ApplyRequest {
  const set = request.query.get('set') ?? '';
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(set)) throw new Refusal('malformed_request', { detail: 'set' });
  if (set === bundleSet) throw new Refusal('bundle_read_only');
  const type = mediaType(request.headers);
  if (type !== yaml && type !== 'application/json') throw new Refusal('unsupported_media_type');
  const text = new TextDecoder().decode(request.body);
  // No document at all empties the set, when it is also pruned.
  const documents = checkDocuments(text.trim() === '' ? [] : [{ file: 'request', text }], broker);
  const flag = (name: string) => {
    const value = request.query.get(name) ?? 'false';
    if (value !== 'true' && value !== 'false') throw new Refusal('malformed_request', { detail: name });
    return value === 'true';
  };
  return { set, prune: flag('prune'), takeOver: flag('takeOver'), documents, text };
}

/** Parsed, and refused whole with every error at once. */
export function checkDocuments(
  sources: readonly { file: string; text: string }[],
  { config }: Pick<Broker, 'config'>,
): readonly ParsedDocument[] {
  const { documents, errors } = parseDocuments(sources);
  const own = documents.flatMap((parsed) =>
    forbiddenPlaces(parsed, config).map(({ path, message }) => ({
      ...parsed.positionOf(path),
      path: path.join('.'),
      message,
    })),
  );
  const all = [...errors, ...own];
  if (all.length > 0) throw new DocumentsRefused(all.map(formatError));
  return documents;
}

/** What this installation must not trust or talk to, whatever the schema says. */
function forbiddenPlaces({ document }: ParsedDocument, config: Broker['config']) {
  const places: { path: string[]; message: string }[] = [];
  // Tokens that we sign ourselves would otherwise prove any workload.
  if (
    document.kind === 'TrustedIssuer' &&
    [config.issuer, config.federationIssuer].includes(document.spec.issuer)
  )
    places.push({ path: ['spec', 'issuer'], message: 'the broker’s own issuers cannot be trusted issuers' });
  if (document.kind !== 'Provider') return places;
  const loopback = isLoopbackHost(new URL(config.issuer).hostname);
  for (const [name, endpoint] of Object.entries(document.spec.endpoints ?? {})) {
    if (endpoint === undefined) continue;
    const { origin, hostname } = new URL(endpoint);
    if ((loopback && isLoopbackHost(hostname)) || config.providerEndpoints.includes(origin)) continue;
    const message = `${origin} is not among MAYFLY_PROVIDER_ENDPOINTS of this installation`;
    places.push({ path: ['spec', 'endpoints', name], message });
  }
  return places;
}

/** Lint against what will be in force beside them; errors refuse. */
export function lintDocuments(
  documents: readonly ParsedDocument[],
  { active, changes }: { active: readonly ActiveDocument[]; changes: readonly Change[] },
): readonly string[] {
  const moved = new Set([...documents, ...changes].map(({ kind, name }) => `${kind}\n${name}`));
  const others = active
    .filter(({ kind, name }) => !moved.has(`${kind}\n${name}`))
    .map(({ body }) => reopenDocument(body));
  const findings = [...lint(documents, others), ...lintTypeChanges(documents, active)];
  const errors = findings.filter(({ level }) => level === 'ERROR');
  if (errors.length > 0) throw new DocumentsRefused(errors.map(formatFinding));
  return findings.map(formatFinding);
}

async function planned({ broker, principal }: Call, request: ApplyRequest) {
  const { set, prune, documents, takeOver } = request;
  const { epoch, documents: active } = await broker.store.documents.load();
  const changes = diffDocuments(active, documents, { set, prune });
  const findings = lintDocuments(documents, { active, changes });
  // Who may only read may still see a plan.
  if (holdsRole(principal, ['admin', 'template-admin']))
    for (const change of changes) mayChange(principal, change, { active, next: documents });
  refuseConflicts(setConflicts(changes, active, { set, takeOver }));
  return { set, epoch, changes, findings };
}

async function apply(call: Call) {
  const { broker, principal } = call;
  const request = readRequest(call);
  for (let round = 0; round < roundsMax; round += 1) {
    const plan = await planned(call, request);
    const applied = await applyPlan(broker, { ...request, ...plan, actor: principal.name });
    if (applied === 'stale') continue;
    broker.nudge(); // Tasks with `onChange: end`.
    return ok({ ...plan, epoch: applied });
  }
  throw new Refusal('overloaded');
}

export interface PlanToApply {
  readonly set: string;
  readonly takeOver: boolean;
  readonly epoch: number;
  readonly changes: readonly Change[];
  readonly documents: readonly ParsedDocument[];
  readonly actor: string;
}

/** Writes a plan in one transaction, each change with its audit row; `stale` when the epoch has moved since. */
export async function applyPlan(
  broker: Pick<Broker, 'store' | 'exchange'>,
  plan: PlanToApply,
): Promise<number | 'stale'> {
  const { set, takeOver, epoch, changes, documents, actor } = plan;
  const { newId, clock } = broker.exchange;
  const changed = new Set(
    changes.filter(({ action }) => action !== 'none').map(({ kind, name }) => `${kind}\n${name}`),
  );
  const result = await broker.store.documents.apply({
    set,
    takeOver,
    expectedEpoch: epoch,
    actor,
    upserts: documents
      .filter(({ kind, name }) => changed.has(`${kind}\n${name}`))
      .map(({ kind, name, document }) => ({ kind, name, body: { ...document } })),
    deletions: changes.filter(({ action }) => action === 'delete'),
    event: (change) => {
      const type = change.version === null ? 'document.deleted' : 'document.applied';
      return auditEvent({ newId, now: clock.now() }, { type, actor, body: { ...change } });
    },
  });
  return result.kind === 'stale' ? 'stale' : result.epoch;
}

/** `admin` writes everything but templates, `template-admin` templates in scope; nobody a binding that names him. */
function mayChange(principal: Principal, change: Change, context: Changing): void {
  if (change.action === 'none') return;
  const { kind, name } = change;
  if (!isKind(kind)) throw new Refusal('document_invalid', { detail: 'unknown kind' });
  const before = context.active.find((one) => one.kind === kind && one.name === name);
  const after = context.next.find((one) => one.kind === kind && one.name === name)?.document;
  const binding = { before: asBinding(before && reopenDocument(before.body)), after: asBinding(after) };
  const may = mayWriteDocument(principal.roles, principal.identity, { kind, name, binding });
  if (!may.allowed) throw new DocumentsRefused([may.problem], 'role_required', may.problem);
}

interface Changing {
  readonly active: readonly ActiveDocument[];
  readonly next: readonly ParsedDocument[];
}

function asBinding(document: AnyDocument | undefined) {
  return document?.kind === 'RoleBinding' ? document : null;
}

function refuseConflicts(conflicts: ReturnType<typeof setConflicts>): void {
  const [first] = conflicts;
  if (first === undefined) return;
  const says = conflicts.map(({ kind, name, set }) => `${kind} ${name} belongs to set ${set}`);
  throw new DocumentsRefused(says, first.reason, says[0]);
}

async function visible({ broker, principal }: Call, kind: Kind): Promise<readonly ActiveDocument[]> {
  const { documents } = await broker.store.documents.load();
  return documents.filter((one) => {
    if (one.kind !== kind) return false;
    if (kind === 'GrantTemplate') return holdsRole(principal, readers, { template: one.name });
    if (kind === 'Provider') return holdsRole(principal, readers, { provider: one.name });
    return holdsUnscoped(principal, readers);
  });
}

function summary({ kind, name, version, set }: ActiveDocument) {
  return { kind, name, version, set };
}
