import type { Answer } from './connection.ts';
import type { Issued } from './credential-cache.ts';
import { TaskOver, Unavailable } from './errors.ts';
import { Secret } from './secret.ts';
import { asList, asObject, asText, asTime, type Json, parseJson } from './wire.ts';

/** How far the end of a task has come: counts of its credentials, and when the last one is dead at the latest. */
export interface TaskEnd {
  /** The state that the task has now; another than asked for, if it had ended before. */
  readonly state: string;
  readonly total: number;
  readonly confirmed: number;
  readonly pending: number;
  readonly byExpiry: number;
  readonly worstCaseAt: Date | null;
}

/** What a task may ask for, as it was opened. */
export interface TaskGrant {
  readonly id: string;
  readonly name: string;
  readonly tool: string;
  /** Outer bound; each credential opens one thing inside it. */
  readonly resource: string;
  readonly actions: readonly string[];
}

/** No credential of Mayfly lives longer; a longer answer is a mistake. */
const lifeSecondsMax = 86_400;

/** What an answer of a task says about its lease. */
export function beatOf(
  { body, serverAt, sentAt }: Answer,
  tokenMs: number | null,
): { leaseMs: number; tokenMs: number | null } {
  const times = [asTime(body['leaseExpiresAt']), asTime(body['expiresAt'])].flatMap((one) => one ?? []);
  if (times.length === 0)
    throw new Unavailable({ reason: 'answer_unreadable', says: 'the answer holds no task.' });
  const endsAtMs = Math.min(...times.map((time) => time.getTime()));
  // Both ends by the server's clock, which need not be ours.
  return { leaseMs: Math.max(endsAtMs - (serverAt ?? sentAt).getTime(), 0), tokenMs };
}

export function overOf(state: string, stateReason: string | undefined): TaskOver {
  const why = stateReason === undefined ? '' : ` (${stateReason})`;
  return state === 'suspended'
    ? new TaskOver({ reason: 'task_suspended', state, says: `the task is suspended${why}.` })
    : new TaskOver({ reason: 'task_ended', state, says: `the task has ended: ${state}${why}.` });
}

export function endOf({ body }: Answer): TaskEnd {
  const ending = asObject(body['ending']);
  const count = (name: string) => (typeof ending[name] === 'number' ? ending[name] : 0);
  return {
    state: asText(body['state']) ?? 'unknown',
    total: count('total'),
    confirmed: count('confirmed'),
    pending: count('pending'),
    byExpiry: count('byExpiry'),
    worstCaseAt: asTime(ending['worstCaseAt']) ?? null,
  };
}

export function grantsOf(body: Json): readonly TaskGrant[] {
  return asList(body['grants']).map((value) => {
    const grant = asObject(value);
    const text = (name: string) => asText(grant[name]) ?? '';
    const actions = asList(grant['actions']).flatMap((one) => asText(one) ?? []);
    return { id: text('id'), name: text('name'), tool: text('tool'), resource: text('resource'), actions };
  });
}

export function issuedOf({ body, sentAt }: Answer): Issued {
  const credential = asText(body['access_token']);
  const issuedTokenType = asText(body['issued_token_type']);
  const seconds = body['expires_in'];
  if (credential === undefined || issuedTokenType === undefined || typeof seconds !== 'number')
    throw new Unavailable({ reason: 'answer_unreadable', says: 'the answer holds no credential.' }, false);
  return {
    credential: new Secret(credential),
    issuedTokenType,
    tokenType: asText(body['token_type']) ?? 'N_A',
    issuanceId: asText(asObject(body['issuance'])['id']) ?? 'unknown',
    sentAt,
    lifeMs: Math.min(Math.max(seconds, 0), lifeSecondsMax) * 1000,
  };
}

/** `exp` minus `iat` of a JWT: its life by the signer's clock. Nothing is decided by it but when to ask anew. */
export function lifeOfToken(token: string): number | undefined {
  const [, payload = ''] = token.split('.');
  const { exp, iat } = asObject(parseJson(Buffer.from(payload, 'base64url').toString('utf8')));
  return typeof exp === 'number' && typeof iat === 'number' && exp > iat ? (exp - iat) * 1000 : undefined;
}
