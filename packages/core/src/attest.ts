import { actorsMax } from './delegate.ts';
import { Refusal } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import type { TaskFound, Use } from './ports.ts';
import { type Presented, type Proven, provesKey } from './proof.ts';
import type { Attested } from './security-event.ts';
import type { PolicySet } from './template.ts';
import {
  type Actor,
  type Confirmation,
  type Identity,
  matchesSubject,
  type Workload,
  workloadName,
} from './workload.ts';

/** What the caller presented as subject token. */
export type Subject =
  | { readonly kind: 'assertion'; readonly token: string }
  /** `:access_token`: a task token of ours, or with an actor a tool token that was shown to it. */
  | { readonly kind: 'access-token'; readonly token: string };

export interface Caller {
  /** The subject: on whose behalf. */
  readonly identity: Identity;
  /** `ISSUERNAME/SUBJECT`. */
  readonly name: string;
  /** Who acts for it, the present one first; empty when it asks itself. */
  readonly actors: readonly Actor[];
  /** The keys that it has proven to hold. */
  readonly confirmation: Confirmation;
  /** The key that its subject token is bound to, among those proven. */
  readonly boundTo: Confirmation | null;
  /** Set when a task token speaks for itself: for this task only. */
  readonly viaTask: TaskFound | null;
  /** The task beneath which alone it may open and use tasks; null when it speaks for itself. */
  readonly parent: TaskFound | null;
  /** What this call uses up when it is granted. */
  readonly uses: readonly Use[];
  /** The assertions that it came with, its own and its actor's. */
  readonly attested: readonly Attested[];
  readonly assertionDigest: string | null;
}

/** Who did it, for the log: the party that acted. */
export function callerName({ name, actors: [actor] }: Pick<Caller, 'name' | 'actors'>): string {
  return actor === undefined ? name : workloadName(actor);
}

export interface Credentials {
  readonly subject: Subject;
  /** RFC 8693 `actor_token`: always an assertion of a trusted issuer. */
  readonly actor: { readonly token: string } | null;
  readonly presented: Presented;
}

export type Attesting = Pick<
  ExchangePorts,
  'attestor' | 'issuerOf' | 'taskTokens' | 'toolTokens' | 'tasks' | 'deadline' | 'proofs'
>;

interface Context {
  readonly policy: PolicySet;
  readonly ports: Attesting;
  readonly now: Date;
}

/** Step 1. Routes on the exact `iss`; there is no fetch for an issuer that is not registered. */
export async function attest({ subject, actor, presented }: Credentials, context: Context): Promise<Caller> {
  const proven = await context.ports.proofs.verify(presented, context.now);
  const spoken =
    subject.kind === 'assertion'
      ? await attestSubject(subject.token, context)
      : await attestOwnToken(subject.token, context);
  const acting = actor === null ? null : await attestActor(actor.token, spoken, context);
  for (const { boundTo } of [spoken, ...(acting === null ? [] : [acting])])
    if (!provesKey(proven.confirmation, boundTo))
      throw new Refusal('proof_required', { detail: 'a token is bound to a key that was not proven' });
  return callerOf(spoken, acting, proven);
}

interface Spoken {
  readonly identity: Identity;
  readonly actors: readonly Actor[];
  readonly mayAct: Workload['mayAct'] | null;
  readonly boundTo: Confirmation | null;
  readonly task: TaskFound | null;
  /** Audience of the tool token that was shown; only its own server may act upon it. */
  readonly toolAudience: string | null;
  readonly uses: readonly Use[];
  readonly attested: readonly Attested[];
  readonly assertionDigest: string | null;
}

async function attestSubject(token: string, context: Context): Promise<Spoken> {
  const workload = await attestAssertion(token, context);
  return {
    identity: workload,
    actors: [],
    mayAct: workload.mayAct ?? null,
    boundTo: workload.confirmation ?? null,
    task: null,
    toolAudience: null,
    uses: usesOf(workload),
    attested: [attestedBy(workload)],
    assertionDigest: workload.assertionId,
  };
}

export async function attestAssertion(
  assertion: string,
  {
    policy,
    ports,
    now,
  }: { policy: PolicySet; ports: Pick<ExchangePorts, 'attestor' | 'issuerOf' | 'deadline'>; now: Date },
): Promise<Workload> {
  const iss = ports.issuerOf(assertion);
  const attestor = iss !== undefined && policy.issuers.has(iss) ? ports.attestor(iss) : undefined;
  if (attestor === undefined) throw new Refusal('assertion_invalid', { detail: 'unknown issuer' });
  return attestor.attest(assertion, { now, signal: ports.deadline() });
}

/** Nothing but a task token, or a tool token, that we signed. Whether its task lives is decided later. */
async function attestOwnToken(token: string, { ports, now }: Context): Promise<Spoken> {
  const tool = await ports.toolTokens.verify(token, now);
  const { taskId, confirmation } = tool ?? (await ports.taskTokens.verify(token, now));
  const task = await ports.tasks.find(taskId);
  if (task === undefined) throw new Refusal('assertion_invalid', { detail: 'token of an unknown task' });
  const { workload: identity, actors } = task.task;
  const toolAudience = tool?.audience ?? null;
  const nothing = { mayAct: null, uses: [], attested: [], assertionDigest: null };
  return { identity, actors, boundTo: confirmation, task, toolAudience, ...nothing };
}

interface Acting {
  readonly actor: Actor;
  readonly boundTo: Confirmation | null;
  readonly uses: readonly Use[];
  readonly attested: readonly Attested[];
  readonly assertionDigest: string;
}

async function attestActor(token: string, spoken: Spoken, context: Context): Promise<Acting> {
  const workload = await attestAssertion(token, context);
  const { issuer, issuerName, subject, claims } = workload;
  const { mayAct } = spoken;
  const named = mayAct?.issuer === issuer && mayAct.subject === subject;
  if (mayAct !== null && !named) throw new Refusal('may_act_mismatch');
  const actor = { issuer, issuerName, subject, claims, named };
  if (spoken.toolAudience !== null) refuseOtherServer(actor, spoken.toolAudience, context);
  if (spoken.actors.length >= actorsMax) throw new Refusal('delegation_too_deep');
  const { confirmation: boundTo = null, assertionId: assertionDigest } = workload;
  return { actor, boundTo, uses: usesOf(workload), attested: [attestedBy(workload)], assertionDigest };
}

/** A tool may go on from a token only as its actor, and only the tool that it was made for. */
function refuseOtherServer(actor: Actor, audience: string, { policy }: Context): void {
  const own = [...policy.servers.values()].some(
    (server) => server.audience === audience && server.subjects.some((entry) => matchesSubject(entry, actor)),
  );
  if (!own)
    throw new Refusal('delegation_not_granted', { detail: 'no subject of the audience of this tool token' });
}

function callerOf(spoken: Spoken, acting: Acting | null, { confirmation, use }: Proven): Caller {
  const { identity, task, toolAudience } = spoken;
  if (toolAudience !== null && acting === null)
    throw new Refusal('assertion_invalid', { detail: 'a tool token is no subject token without its actor' });
  const uses = [...spoken.uses, ...(acting?.uses ?? []), ...(use === null ? [] : [use])];
  return {
    identity,
    name: workloadName(identity),
    actors: acting === null ? spoken.actors : [acting.actor, ...spoken.actors],
    confirmation,
    boundTo: spoken.boundTo,
    viaTask: acting === null ? task : null,
    parent: task,
    uses,
    attested: [...spoken.attested, ...(acting?.attested ?? [])],
    assertionDigest: spoken.assertionDigest ?? acting?.assertionDigest ?? null,
  };
}

function attestedBy({ issuerName, subject, assertionIssuedAt }: Workload): Attested {
  return { issuerName, subject, ...(assertionIssuedAt === undefined ? {} : { issuedAt: assertionIssuedAt }) };
}

function usesOf({ replay, assertionId, assertionExpiresAt, assertionIssuedAt }: Workload): readonly Use[] {
  if (replay !== 'once') return [];
  const issued = assertionIssuedAt === undefined ? {} : { issuedAt: assertionIssuedAt };
  return [{ digest: assertionId, expiresAt: assertionExpiresAt, ...issued, replayed: 'assertion_replayed' }];
}
