import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { AwsError } from './errors.ts';
import { type FaultPlan, Faults } from './faults.ts';
import { iamActions } from './iam.ts';
import type { JsonCall, JsonService } from './json-service.ts';
import { invoke, isInvocation } from './lambda.ts';
import { Ledger, type LedgerRecord, userIdentity } from './ledger.ts';
import { serveS3, target } from './s3.ts';
import { createSeeds, type Seeds } from './seed.ts';
import { jsonServices } from './services.ts';
import { type Principal, verifySignature } from './sigv4.ts';
import { type AwsState, emptyState, type Session } from './state.ts';
import { stsActions } from './sts.ts';
import { verifyWebIdentity } from './web-identity.ts';
import { type Outcome, writeOutcome } from './write.ts';

const bodyBytesMax = 64 * 1024 * 1024;

export interface AwsOptions {
  readonly port?: number;
  readonly account?: string;
  readonly region?: string;
  readonly now?: () => Date;
  /** False: GetScopedCredentials is unknown, as in systems beside AWS. */
  readonly scopedSessions?: boolean;
  readonly latencyMs?: number;
  /** How long an IAM policy write takes to be felt. */
  readonly propagationMs?: number;
}

export interface AwsStandin extends Seeds {
  readonly url: string;
  readonly account: string;
  readonly root: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly faults: Faults;
  ledger(sinceSeq?: number): readonly LedgerRecord[];
  close(): Promise<void>;
}

interface Context {
  readonly state: AwsState;
  readonly ledger: Ledger;
  readonly faults: Faults;
  readonly options: AwsOptions;
  now(): Date;
}

/** STS, IAM, S3 and the services of the access table, of one account on one loopback port, for unmodified clients. */
export async function startAws(options: AwsOptions = {}): Promise<AwsStandin> {
  const state = emptyState(options.account ?? '123456789012', options.region ?? 'eu-west-1');
  const context: Context = {
    state,
    ledger: new Ledger(),
    faults: new Faults(),
    options,
    now: options.now ?? (() => new Date()),
  };
  const server = createServer((request, response) => {
    serve(request, response, context).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    account: state.account,
    root: { accessKeyId: state.root.accessKeyId, secretAccessKey: state.root.secret },
    faults: context.faults,
    ledger: (since = 0) => context.ledger.since(since),
    ...createSeeds(state, context.now),
    close: () =>
      new Promise((resolve) => {
        context.faults.clear();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const body = await readBody(request);
  if ((request.url ?? '').startsWith('/_standin/')) return control(request, { body, response, context });
  const call = describeCall(request, body);
  const requestId = randomUUID();
  if (context.options.latencyMs !== undefined) await delay(context.options.latencyMs);
  const fault = context.faults.take(call.action);
  if (fault !== undefined) await before(fault, response);
  if (response.destroyed) return;
  const outcome =
    fault?.plan.mode === 'refuse'
      ? refusal(fault.plan, call.service)
      : await run(call, { request, body, context });
  if (fault?.plan.mode === 'applied_and_cut') {
    response.destroy();
    return;
  }
  const failed = fault?.plan.mode === 'applied_and_failed' ? refusal(fault.plan, call.service) : outcome;
  writeOutcome(response, failed, { requestId, call, lie: fault?.plan.mode });
}

async function before(
  { plan, released }: { plan: FaultPlan; released: Promise<void> },
  response: ServerResponse,
): Promise<void> {
  if (plan.mode === 'cut') response.destroy();
  if (plan.mode === 'delay') await delay(plan.ms ?? 100);
  if (plan.mode === 'hold') await released;
}

function refusal({ code = 'InternalFailure', status = 500 }: FaultPlan, service: string): Outcome {
  return { kind: 'error', service, error: new AwsError(code, status) };
}

export interface CallInfo {
  readonly service: 'sts' | 'iam' | 's3' | 'lambda' | JsonService['service'];
  readonly action: string;
  readonly params: URLSearchParams;
  readonly json?: JsonService;
}

function describeCall(request: IncomingMessage, body: Buffer): CallInfo {
  const [prefix = '', operation = ''] = String(request.headers['x-amz-target'] ?? '').split('.');
  const json = jsonServices.get(prefix);
  if (json !== undefined)
    return { service: json.service, action: operation, params: new URLSearchParams(), json };
  if (request.method === 'POST' && isInvocation(request))
    return { service: 'lambda', action: 'Invoke', params: new URLSearchParams() };
  const type = String(request.headers['content-type'] ?? '');
  const query =
    request.method === 'POST' && request.url === '/' && type.startsWith('application/x-www-form-urlencoded');
  if (!query) return { service: 's3', action: s3Action(request), params: new URLSearchParams() };
  const params = new URLSearchParams(body.toString('utf8'));
  const action = params.get('Action') ?? '';
  return { service: Object.hasOwn(iamActions, action) ? 'iam' : 'sts', action, params };
}

function s3Action(request: IncomingMessage): string {
  const verbs: Readonly<Record<string, string>> = { GET: 'Get', HEAD: 'Head', PUT: 'Put', DELETE: 'Delete' };
  const { key, bucket } = safeTarget(request);
  return key === ''
    ? bucket === ''
      ? 'ListBuckets'
      : 'ListObjects'
    : `${verbs[request.method ?? ''] ?? 'Other'}Object`;
}

function safeTarget(request: IncomingMessage): { bucket: string; key: string } {
  try {
    return target(request);
  } catch {
    return { bucket: '', key: '' };
  }
}

async function run(
  call: CallInfo,
  { request, body, context }: { request: IncomingMessage; body: Buffer; context: Context },
): Promise<Outcome> {
  const now = context.now();
  let principal: Principal | undefined;
  try {
    const unsigned = call.action === 'AssumeRoleWithWebIdentity';
    principal = unsigned ? undefined : await verifySignature(request, body, { state: context.state, now });
    if (principal !== undefined && principal.service !== call.service)
      throw new AwsError('SignatureDoesNotMatch', 403, 'credential scope names another service');
    const outcome = await dispatch(call, { request, body, context, principal, now });
    record(call, { context, principal, outcome, now });
    return outcome;
  } catch (cause) {
    const error = cause instanceof AwsError ? cause : new AwsError('InternalFailure', 500);
    const outcome: Outcome = { kind: 'error', service: call.service, error };
    record(call, { context, principal, outcome, now, request });
    return outcome;
  }
}

interface Running {
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly context: Context;
  readonly principal: Principal | undefined;
  readonly now: Date;
}

async function dispatch(
  call: CallInfo,
  { request, body, context, principal, now }: Running,
): Promise<Outcome> {
  const { state, options } = context;
  if (call.service === 's3') {
    if (principal === undefined) throw new AwsError('AccessDenied', 403);
    return { kind: 's3', answer: serveS3({ request, body, principal, state, now }) };
  }
  if (call.service === 'lambda' || call.json !== undefined) {
    if (principal === undefined) throw new AwsError('MissingAuthenticationToken', 403);
    const caller = { principal, state, now };
    return call.json === undefined
      ? { kind: 'lambda', answer: invoke(caller, request, body) }
      : { kind: 'json', result: operate(call, { ...caller, input: parseInput(body) }) };
  }
  if (call.service === 'iam') {
    const handler = iamActions[call.action];
    if (handler === undefined || principal === undefined) throw new AwsError('InvalidAction', 400);
    const result = handler({
      action: call.action,
      params: call.params,
      principal,
      state,
      now,
      propagationMs: options.propagationMs ?? 0,
    });
    return { kind: 'query', result, session: undefined };
  }
  const handler = stsActions[call.action];
  if (handler === undefined) throw new AwsError('InvalidAction', 400);
  const scopedSessions = options.scopedSessions ?? true;
  const { result, session } = await handler({
    params: call.params,
    principal,
    state,
    now,
    scopedSessions,
    verifyWebIdentity,
  });
  return { kind: 'query', result, session };
}

function operate({ json, action }: CallInfo, call: JsonCall): Record<string, unknown> {
  const operations = json?.operations ?? {};
  const operation = Object.hasOwn(operations, action) ? operations[action] : undefined;
  if (operation === undefined) throw new AwsError('UnknownOperationException', 400);
  return operation(call);
}

function parseInput(body: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString('utf8')));
  } catch {
    throw new AwsError('SerializationException', 400);
  }
}

interface Recording {
  readonly context: Context;
  readonly principal: Principal | undefined;
  readonly outcome: Outcome;
  readonly now: Date;
  readonly request?: IncomingMessage;
}

function record(call: CallInfo, { context, principal, outcome, now, request }: Recording): void {
  const session = outcome.kind === 'query' ? outcome.session : undefined;
  const s3 =
    outcome.kind === 's3'
      ? outcome.answer
      : request === undefined
        ? undefined
        : { ...safeTarget(request), event: call.action };
  context.ledger.append({
    eventTime: now.toISOString(),
    eventSource: `${call.service}.amazonaws.com`,
    eventName: call.service === 's3' ? (s3?.event ?? call.action) : call.action,
    userIdentity: identityOf(principal, { session, account: context.state.account }),
    requestParameters:
      call.service === 's3' ? { bucketName: s3?.bucket, key: s3?.key } : parametersOf(call.params, session),
    responseElements:
      session === undefined
        ? null
        : { credentials: { accessKeyId: session.accessKeyId, expiration: session.expiresAt.toISOString() } },
    errorCode: outcome.kind === 'error' ? outcome.error.code : null,
  });
}

function identityOf(
  principal: Principal | undefined,
  { session, account }: { session: Session | undefined; account: string },
) {
  if (principal === undefined)
    return {
      type: 'WebIdentityUser',
      principalId: session?.webIdentity?.subject ?? null,
      identityProvider: session?.webIdentity?.provider ?? null,
    };
  return userIdentity(principal.session, account);
}

const recorded = [
  'RoleArn',
  'RoleSessionName',
  'DurationSeconds',
  'Policy',
  'ScopedSessionDescription',
  'RoleName',
  'PolicyName',
  'PolicyDocument',
];

function parametersOf(params: URLSearchParams, session: Session | undefined): Record<string, unknown> {
  const stated = recorded.flatMap((name) => {
    const value = params.get(name);
    return value === null ? [] : [[`${name.charAt(0).toLowerCase()}${name.slice(1)}`, value]];
  });
  return {
    ...Object.fromEntries(stated),
    ...(session?.sourceIdentity === undefined ? {} : { sourceIdentity: session.sourceIdentity }),
  };
}

/** `/_standin/ledger?since=N` and `/_standin/faults`: for tests in other processes. */
async function control(
  request: IncomingMessage,
  { body, response, context }: { body: Buffer; response: ServerResponse; context: Context },
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://standin');
  const json = (value: unknown) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  if (url.pathname === '/_standin/ledger')
    json(context.ledger.since(Number(url.searchParams.get('since') ?? '0')));
  else if (url.pathname === '/_standin/faults' && request.method === 'POST') {
    context.faults.arm(JSON.parse(body.toString('utf8')) as FaultPlan); // A test's own plan.
    json({ armed: true });
  } else response.writeHead(404).end();
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > bodyBytesMax) throw new AwsError('EntityTooLarge', 400);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
