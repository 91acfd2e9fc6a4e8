import { createHash } from 'node:crypto';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { z } from 'zod';

/** Where the demo looks; every outcome comes from the wire, and a test puts a tampering proxy into each of these. */
export interface DemoTarget {
  readonly broker: string;
  readonly s3: string;
  /** Whose answers these are, as the demo names it. */
  readonly cloud?: string;
  /** Where the cloud shows what it has minted; null where it shows nothing. */
  readonly ledger: string | null;
  /** A fresh assertion of the workload, and one of a person who is operator and auditor. */
  workload(): Promise<string>;
  person(): Promise<string>;
  readonly ref: string;
}

export interface Step {
  readonly title: string;
  readonly detail: string;
  readonly outcome: string;
  readonly held: boolean;
}

const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange';
const mine = 'arn:aws:s3:::invoices/2026q3/a.pdf';
const neighbourKey = '2026q4/a.pdf';
/** How long the demo waits for the cloud to confirm the end. */
const endWaitMs = 15_000;

const answerForm = z.looseObject({
  access_token: z.string().optional(),
  task_token: z.string().optional(),
  error: z.string().optional(),
  reason: z.string().optional(),
  issuance: z.looseObject({ id: z.string(), task: z.string(), expires_at: z.string() }).optional(),
});
const keysForm = z.object({ AccessKeyId: z.string(), SecretAccessKey: z.string(), SessionToken: z.string() });
const issuancesForm = z.object({
  items: z.array(
    z.looseObject({
      id: z.string(),
      state: z.string(),
      endedBy: z.string().nullable(),
      providerKeyHash: z.string().nullable(),
    }),
  ),
});
const auditForm = z.object({
  items: z.array(z.looseObject({ type: z.string(), canonical: z.string(), leafHash: z.string() })),
});
const ledgerForm = z.array(
  z.looseObject({
    requestParameters: z.looseObject({ scopedSessionDescription: z.string().optional() }),
    responseElements: z.looseObject({ credentials: z.looseObject({ accessKeyId: z.string() }) }).nullable(),
  }),
);

/** Six steps from exchange to audit; stops nothing on a failed one, so that each shows its own colour. */
export async function runDemo(
  target: DemoTarget,
  show: (step: Step, index: number) => void,
): Promise<readonly Step[]> {
  const steps: Step[] = [];
  const { cloud = 'the stand-in S3', ledger } = target;
  const step = async (
    title: string,
    detail: string,
    run: () => Promise<{ outcome: string; held: boolean }>,
  ) => {
    const result = await run().catch((error: unknown) => ({
      outcome: error instanceof Error ? error.message : 'failed',
      held: false,
    }));
    const done = { title, detail, ...result };
    steps.push(done);
    show(done, steps.length);
  };
  const held: { keys?: z.infer<typeof keysForm>; taskToken?: string; task?: string; expiresAt?: number } = {};
  await step('allowed', `s3.read  ${mine}`, async () => {
    const answer = await exchange(target, {
      subject: await target.workload(),
      type: 'jwt',
      detail: opening(target.ref),
    });
    held.keys = keysForm.parse(JSON.parse(answer.access_token ?? '{}'));
    Object.assign(held, {
      taskToken: answer.task_token,
      task: answer.issuance?.task,
      expiresAt: Date.parse(answer.issuance?.expires_at ?? ''),
    });
    const status = await read(target, held.keys, '2026q3/a.pdf');
    return { outcome: `${status} by ${cloud}`, held: status === 200 };
  });
  await step('neighbour', `same keys, .../${neighbourKey}`, async () => {
    const status = await read(target, required(held.keys), neighbourKey);
    return { outcome: `${status} by ${cloud}`, held: status === 403 };
  });
  await step('not granted', 'tool mail.send', async () => {
    const detail = { type: 'mayfly_tool_call', tool: 'mail.send', identifier: 'https://mail.example/x' };
    const { error, reason } = await exchange(target, {
      subject: required(held.taskToken),
      type: 'access_token',
      detail,
    });
    return {
      outcome: `${error} / ${reason}`,
      held: error === 'invalid_target' && reason === 'tool_not_granted',
    };
  });
  await step('task end', `${held.task ?? 'no task'} completed`, () => endTask(target, held));
  await step(
    'same keys',
    `${Math.max(0, Math.round(((held.expiresAt ?? 0) - Date.now()) / 1000))} s of life left`,
    async () => {
      const status = await read(target, required(held.keys), '2026q3/a.pdf');
      const alive = (held.expiresAt ?? 0) > Date.now();
      return { outcome: `${status} by ${cloud}`, held: status === 403 && alive };
    },
  );
  const joining = ledger === null ? 'the cloud shows no ledger' : 'joined to the cloud’s own ledger';
  await step('audit', `rows rehashed, ${joining}`, () => verifyAudit(target, required(held.task)));
  return steps;
}

function opening(ref: string) {
  return {
    type: 'mayfly_tool_call',
    tool: 's3.read',
    identifier: mine,
    task: { template: 'invoice-reconcile', ref, params: { quarter: '2026q3' }, objective: 'demo' },
  };
}

async function exchange(target: DemoTarget, request: { subject: string; type: string; detail: object }) {
  const body = new URLSearchParams({
    grant_type: exchangeType,
    subject_token: request.subject,
    subject_token_type: `urn:ietf:params:oauth:token-type:${request.type}`,
    authorization_details: JSON.stringify([request.detail]),
  });
  const answer = await fetch(`${target.broker}/token`, { method: 'POST', body });
  const parsed = answerForm.parse(await answer.json());
  if (parsed.error !== undefined && parsed.reason === undefined)
    throw new Error(`${parsed.error} without reason`);
  return parsed;
}

/** HTTP status of an unmodified AWS SDK with these keys. */
async function read(target: DemoTarget, keys: z.infer<typeof keysForm>, Key: string): Promise<number> {
  const client = new S3Client({
    endpoint: target.s3,
    region: 'eu-west-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: keys.AccessKeyId,
      secretAccessKey: keys.SecretAccessKey,
      sessionToken: keys.SessionToken,
    },
  });
  try {
    const answer = await client.send(new GetObjectCommand({ Bucket: 'invoices', Key }));
    await answer.Body?.transformToByteArray();
    return answer.$metadata.httpStatusCode ?? 0;
  } catch (error) {
    const metadata: unknown = Reflect.get(Object(error), '$metadata');
    const status: unknown = Reflect.get(Object(metadata), 'httpStatusCode');
    if (typeof status === 'number') return status;
    throw error;
  } finally {
    client.destroy();
  }
}

async function endTask(target: DemoTarget, held: { taskToken?: string; task?: string; expiresAt?: number }) {
  const started = performance.now();
  const answer = await fetch(`${target.broker}/v1/tasks/${required(held.task)}/end`, {
    method: 'POST',
    headers: { authorization: `Bearer ${required(held.taskToken)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ outcome: 'completed' }),
  });
  if (answer.status !== 200) return { outcome: `refused with ${answer.status}`, held: false };
  const worst = Math.max(0, Math.round(((held.expiresAt ?? 0) - Date.now()) / 1000));
  while (performance.now() - started < endWaitMs) {
    const { items } = await issuances(target, required(held.task));
    const ended = items.filter(({ state }) => state === 'ended');
    if (items.length > 0 && items.every(({ state }) => state === 'ended' || state === 'refused')) {
      const how = ended[0]?.endedBy ?? 'unknown';
      return {
        outcome: `${how} in ${Math.round(performance.now() - started)} ms, worst case ${worst} s`,
        held: how === 'denied',
      };
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { outcome: 'not confirmed by the cloud in time', held: false };
}

async function issuances(target: DemoTarget, task: string) {
  const headers = { authorization: `Bearer ${await target.person()}` };
  const answer = await fetch(`${target.broker}/v1/issuances?task=${task}`, { headers });
  return issuancesForm.parse(await answer.json());
}

/** Every audit row of the task rehashed (RFC 6962 leaf), and issuances and cloud ledger joined one to one. */
async function verifyAudit(target: DemoTarget, task: string) {
  const headers = { authorization: `Bearer ${await target.person()}` };
  const events = auditForm.parse(
    await (await fetch(`${target.broker}/v1/audit/events?task=${task}&limit=1000`, { headers })).json(),
  ).items;
  const intact = events.filter(({ canonical, leafHash }) => {
    const hash = createHash('sha256')
      .update(Buffer.of(0))
      .update(Buffer.from(canonical, 'utf8'))
      .digest('hex');
    return hash === leafHash;
  });
  const granted = (await issuances(target, task)).items.filter(({ state }) => state !== 'refused');
  const types = new Set(events.map(({ type }) => type));
  const complete = [
    'task.opened',
    'exchange.intended',
    'exchange.delivered',
    'task.ended',
    'credential.ended',
  ].every((type) => types.has(type));
  const verified = `${intact.length} of ${events.length} events verified`;
  const whole = complete && intact.length === events.length && granted.length > 0;
  if (target.ledger === null) return { outcome: verified, held: whole };
  const joined = await joinLedger(target.ledger, granted);
  return {
    outcome: `${verified}, ${joined} of ${granted.length} credentials joined`,
    held: whole && joined === granted.length,
  };
}

/** How many of these issuances the cloud has minted exactly once. */
async function joinLedger(ledger: string, granted: z.infer<typeof issuancesForm>['items']): Promise<number> {
  const records = ledgerForm.parse(await (await fetch(`${ledger}/_standin/ledger`)).json());
  const minted = records.filter(({ responseElements }) => responseElements !== null);
  const joined = granted.filter(({ id, providerKeyHash }) => {
    const fitting = minted.filter(({ responseElements, requestParameters }) => {
      const key = responseElements?.credentials.accessKeyId ?? '';
      const named = requestParameters.scopedSessionDescription;
      const ours = named === undefined || id === `isn_${named}`;
      return ours && createHash('sha256').update(key).digest('hex') === providerKeyHash;
    });
    return fitting.length === 1;
  });
  return joined.length;
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('an earlier step gave nothing to go on with');
  return value;
}
