import { auditEvent, exchange, Fault, Refusal } from '@mayfly/core';
import type { Broker } from '../broker.ts';
import { type ErrorContext, oauthError, type Reply } from './errors.ts';
import { presentedWith } from './presented.ts';
import type { RawRequest } from './request.ts';
import { scopeAnswer } from './scope.ts';
import { parseForm, parseTokenRequest, singleOf } from './token-request.ts';

/** `POST /token` (RFC 8693): parses, calls `exchange`, answers. The only caller of `Secret.reveal` for credentials. */
export async function postToken(broker: Broker, request: RawRequest): Promise<Reply> {
  const started = performance.now();
  const context: ErrorContext = { issuer: broker.config.issuer, requestId: request.id };
  const signIn = signInForm(broker, request);
  if (signIn !== undefined) return signIn();
  const reply = await answer(broker, request, context);
  broker.metrics.exchangeSeconds.observe((performance.now() - started) / 1000);
  return reply;
}

/** One URL: a form with a grant of people's sign-in is theirs, everything else is answered here. */
function signInForm({ signIn }: Broker, request: RawRequest): (() => Promise<Reply>) | undefined {
  if (signIn === undefined) return undefined;
  try {
    const form = parseForm(request.body);
    return signIn.takes(form) ? () => signIn.token(request, form) : undefined;
  } catch {
    return undefined; // Refused as every form that cannot be read.
  }
}

async function answer(broker: Broker, request: RawRequest, context: ErrorContext): Promise<Reply> {
  let parsed: ReturnType<typeof parseTokenRequest>;
  let form: URLSearchParams;
  try {
    form = parseForm(request.body);
    parsed = parseTokenRequest(form, {
      ...context,
      headers: request.headers,
      idempotencyKey: idempotencyKey(request),
      presented: presentedWith(broker, request),
    });
  } catch (error) {
    return refuseForm(broker, error, context);
  }
  const outcome = await exchange(parsed, broker.exchange);
  if (outcome.kind === 'refused') {
    const { error, issuanceId, deviated } = outcome;
    if (deviated !== null && deviated !== 'note') broker.nudge();
    broker.metrics.exchanges.inc({ outcome: error.reason });
    if (error instanceof Fault) reportFault(broker, error, context);
    return oauthError(error, { ...context, issuanceId });
  }
  broker.metrics.exchanges.inc({ outcome: 'delivered' });
  return {
    status: 200,
    body: {
      access_token: outcome.credential.reveal(),
      issued_token_type: outcome.issuedTokenType,
      token_type: outcome.tokenType,
      expires_in: outcome.expiresInSeconds,
      ...scopeAnswer(singleOf(form, 'scope'), outcome.granted),
      authorization_details: [outcome.granted],
      issuance: outcome.issuance,
      ...(outcome.taskToken === null ? {} : { task_token: outcome.taskToken.reveal() }),
    },
  };
}

/** A form that is no exchange: audited once like every parsed request, though nobody is attested. */
export async function refuseForm(broker: Broker, error: unknown, context: ErrorContext): Promise<Reply> {
  const refusal = error instanceof Refusal ? error : new Fault('internal', { effect: 'none', cause: error });
  broker.metrics.exchanges.inc({ outcome: refusal.reason });
  // Cut off or too slow: not even a form, so a metric is all that stays of it.
  if (refusal.reason === 'request_timeout') return oauthError(refusal, context);
  const { newId, clock, unattested, report } = broker.exchange;
  const body = { requestId: context.requestId, reason: refusal.reason, detail: refusal.detail ?? null };
  try {
    await unattested.append(auditEvent({ newId, now: clock.now() }, { type: 'exchange.refused', body }));
  } catch (cause) {
    report('a refusal could not be recorded', { reason: refusal.reason, cause });
  }
  return oauthError(refusal, context);
}

function idempotencyKey(request: RawRequest): string | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined || key === '') return null;
  if (typeof key !== 'string' || key.length > 255)
    throw new Refusal('malformed_request', { detail: 'Idempotency-Key' });
  return key;
}

function reportFault(broker: Broker, error: Fault, { requestId }: ErrorContext): void {
  const { reason, detail, effect } = error;
  broker.log.warn({ reason, detail, effect, requestId, err: error }, 'exchange failed');
  if (reason === 'plan_check_failed' || reason === 'internal') broker.metrics.alarms.inc({ kind: reason });
}
