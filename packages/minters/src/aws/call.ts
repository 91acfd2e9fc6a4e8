import { addAbortSignal, pipeline, Readable } from 'node:stream';
import { Fault } from '@mayfly/core';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Bounded } from '../bounded.ts';

/** Time to connect, and to answer, of one STS or IAM call; the mint deadline cuts both. */
export const connectTimeoutMs = 2_000;
export const answerTimeoutMs = 8_000;

/** An idle connection is closed after this: before AWS would, so that no call is sent into a closing one. */
const idleMs = 8_000;
const socketsMax = 50;

/** Connections kept open between calls: a TLS handshake per mint would cost more than the mint. */
export type Connections = NodeHttpHandler;

export function createConnections(): Connections {
  const agent = { keepAlive: true, maxSockets: socketsMax, timeout: idleMs };
  return new BoundedHandler({
    connectionTimeout: connectTimeoutMs,
    requestTimeout: answerTimeoutMs,
    httpAgent: agent,
    // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in the environment cannot unsay it.
    httpsAgent: { ...agent, rejectUnauthorized: true },
  });
}

/** Reads no more than an answer, and no longer than one takes: the SDK's own time and signal end with the headers. */
class BoundedHandler extends NodeHttpHandler {
  override async handle(...asked: Parameters<NodeHttpHandler['handle']>) {
    const signals = [AbortSignal.timeout(answerTimeoutMs)];
    const given = asked[1]?.abortSignal;
    if (given instanceof AbortSignal) signals.push(given);
    const { response } = await super.handle(...asked);
    if (response.body instanceof Readable)
      response.body = pipeline(response.body, new Bounded(), () => undefined);
    if (response.body instanceof Readable) addAbortSignal(AbortSignal.any(signals), response.body);
    return { response };
  }
}

/** Client options that leave nothing to the environment: no retries of the SDK's, its own endpoint, bounded time. */
export function clientOptions(endpoint: string, region: string, requestHandler: Connections) {
  return { endpoint, region, maxAttempts: 1, requestHandler };
}

// Refused by STS or IAM as such: nothing happened, and asking again changes nothing.
const refused = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'MalformedPolicyDocument',
  'MalformedPolicyDocumentException',
  'PackedPolicyTooLarge',
  'PackedPolicyTooLargeException',
  'ValidationError',
  'InvalidIdentityToken',
  'InvalidIdentityTokenException',
  'IDPRejectedClaim',
  'IDPRejectedClaimException',
  'IDPCommunicationErrorException',
  'RegionDisabledException',
  'LimitExceededException',
  'NoSuchEntityException',
  'UnmodifiableEntityException',
  'InsufficientSessionLifetimeException',
]);

/** One provider call; its errors as Faults that say whether something may have happened. Text of the provider stays out. */
export async function awsCall<T>(name: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    const code = cause instanceof Error ? cause.name : 'unknown';
    const status = httpStatus(cause);
    const detail = `${name}: ${code}${status === undefined ? '' : ` ${status}`}`;
    if (refused.has(code)) throw new Fault('provider_refused', { effect: 'none', detail, cause });
    // A clean 4xx is an answer; a 5xx, a cut connection, a timeout and a 200 that cannot be read may come after the fact.
    const answered = status !== undefined && status >= 400 && status < 500;
    throw new Fault('provider_unavailable', {
      effect: answered || neverSent(cause) ? 'none' : 'unknown',
      detail,
      cause,
    });
  }
}

/** AWS asks for patience: nothing happened. */
export function isThrottled(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : undefined;
  return (cause instanceof Error && throttling.has(cause.name)) || httpStatus(cause) === 429;
}

const throttling = new Set([
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
  'TooManyRequestsException',
]);

/** The endpoint does not know the action: not AWS, or a region without it. */
export function isUnknownAction(error: unknown): boolean {
  if (!(error instanceof Fault)) return false;
  const { cause } = error;
  const name = cause instanceof Error ? cause.name : '';
  return name === 'InvalidAction' || httpStatus(cause) === 405;
}

/** No such role or policy. Ceph answers without a code. */
export function isAbsent(error: unknown): boolean {
  if (!(error instanceof Fault)) return false;
  const { cause } = error;
  return (cause instanceof Error && cause.name === 'NoSuchEntityException') || httpStatus(cause) === 404;
}

/** Of an answer of AWS, also where a Fault stands around it. */
export function httpStatusOf(error: unknown): number | undefined {
  return error instanceof Fault ? httpStatusOf(error.cause) : httpStatus(error);
}

function httpStatus(cause: unknown): number | undefined {
  const metadata = Reflect.get(Object(cause), '$metadata');
  const status = Reflect.get(Object(metadata), 'httpStatusCode');
  return typeof status === 'number' ? status : undefined;
}

function neverSent(cause: unknown): boolean {
  return ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN'].includes(String(Reflect.get(Object(cause), 'code')));
}
