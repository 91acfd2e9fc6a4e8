import { Refusal } from './errors.ts';
import type { ExchangePorts } from './exchange-ports.ts';
import type { SingleUse, TaskFound } from './ports.ts';
import type { PolicySet } from './template.ts';
import { type Identity, type Workload, workloadName } from './workload.ts';

/** What the caller presented as subject token. */
export type Subject =
  | { readonly kind: 'assertion'; readonly token: string }
  /** `:access_token`: only our own task tokens. */
  | { readonly kind: 'task-token'; readonly token: string };

export interface Caller {
  readonly identity: Identity;
  /** `ISSUERNAME/SUBJECT`. */
  readonly name: string;
  /** Set when a task token speaks: for this task only. */
  readonly viaTask: TaskFound | null;
  /** The assertion's one use, where its issuer says once. */
  readonly singleUse: SingleUse['assertion'];
  readonly assertionDigest: string | null;
}

type Attesting = Pick<ExchangePorts, 'attestor' | 'issuerOf' | 'taskTokens' | 'tasks' | 'deadline'>;

/** Step 1. Routes on the exact `iss`; there is no fetch for an issuer that is not registered. */
export async function attestSubject(
  subject: Subject,
  context: { policy: PolicySet; ports: Attesting; now: Date },
): Promise<Caller> {
  if (subject.kind === 'task-token') return attestTaskToken(subject.token, context);
  const workload = await attestAssertion(subject.token, context);
  return {
    identity: workload,
    name: workloadName(workload),
    viaTask: null,
    singleUse:
      workload.replay === 'once'
        ? { digest: workload.assertionId, expiresAt: workload.assertionExpiresAt }
        : null,
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

async function attestTaskToken(
  token: string,
  { ports, now }: { ports: Attesting; now: Date },
): Promise<Caller> {
  const { taskId } = await ports.taskTokens.verify(token, now);
  const found = await ports.tasks.find(taskId);
  if (found === undefined)
    throw new Refusal('assertion_invalid', { detail: 'task token of an unknown task' });
  const identity = found.task.workload;
  return { identity, name: workloadName(identity), viaTask: found, singleUse: null, assertionDigest: null };
}
