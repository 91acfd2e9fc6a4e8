import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type FaultPlan, Faults } from '../aws/faults.ts';
import { GcpError } from './errors.ts';
import { GcpLedger, type GcpRecord, type Trace } from './ledger.ts';
import { describe, dispatch } from './routes.ts';
import { addAccount, emptyState, type GcpState, type SeedAccount } from './state.ts';

export interface GcpOptions {
  readonly port?: number;
  readonly now?: () => Date;
  /** Told of each call before anything of it is done. */
  readonly onCall?: (action: string) => void;
}

export interface GcpStandin {
  readonly url: string;
  readonly faults: Faults;
  ledger(sinceSeq?: number): readonly GcpRecord[];
  /** Trusts an issuer's assertions; audience as Google's own default. */
  createPoolProvider(resource: string, issuer: string): void;
  /** Answers its private key in PEM, as a key file of the account would hold it: for tests of signatures. */
  createServiceAccount(account: SeedAccount): string;
  /** The emergency lever: every token and signature of the account dies; enabled again, what has not expired lives. */
  setDisabled(email: string, disabled: boolean): void;
  putObject(bucket: string, object: string, body: string): void;
  /** Every token that was given out: what must be shown nowhere. */
  tokens(): readonly string[];
  close(): Promise<void>;
}

/** One call on its way through a handler. */
export interface Call {
  readonly action: string;
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly body: Buffer;
  readonly state: GcpState;
  readonly now: Date;
  readonly trace: Trace;
  readonly fault: FaultPlan['mode'] | undefined;
}

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

const bodyBytesMax = 64 * 1024 * 1024;

interface Context {
  readonly state: GcpState;
  readonly ledger: GcpLedger;
  readonly faults: Faults;
  readonly onCall: (action: string) => void;
  now(): Date;
}

/** STS, IAM Credentials, Cloud Storage and publishing of one project on one loopback port, for unmodified clients. */
export async function startGcp(options: GcpOptions = {}): Promise<GcpStandin> {
  const { now = () => new Date(), onCall = () => undefined } = options;
  const state = emptyState();
  const context: Context = { state, ledger: new GcpLedger(), faults: new Faults(), onCall, now };
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
    faults: context.faults,
    ledger: (since = 0) => context.ledger.since(since),
    createPoolProvider: (resource, issuer) => {
      const audiences = [`https://iam.googleapis.com/${resource}`, `//iam.googleapis.com/${resource}`];
      state.pools.set(resource, { resource, issuer, audiences });
    },
    createServiceAccount: (account) => addAccount(state, account),
    setDisabled: (email, disabled) => {
      const account = state.accounts.get(email);
      if (account !== undefined) account.disabled = disabled;
    },
    putObject: (bucket, object, body) => {
      const objects = state.buckets.get(bucket) ?? new Map();
      state.buckets.set(bucket, objects);
      objects.set(object, {
        body: Buffer.from(body),
        contentType: 'text/plain',
        generation: 1,
        updated: now(),
      });
    },
    tokens: () => [...state.tokens.keys()],
    close: () =>
      new Promise((resolve) => {
        context.faults.clear();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const { state, faults, ledger, onCall } = context;
  const body = await readBody(request);
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const action = describe(request, url, body);
  onCall(action);
  const fault = faults.take(action);
  if (fault?.plan.mode === 'cut') return void response.destroy();
  if (fault?.plan.mode === 'delay') await delay(fault.plan.ms ?? 100);
  if (fault?.plan.mode === 'hold') await fault.released;
  const now = context.now();
  const reason = request.headers['x-goog-request-reason'];
  const issuance = reason?.toString().split(' ')[0] ?? null;
  const trace: Trace = { principal: null, resource: null, issuance, sent: {} };
  const call: Call = { action, request, url, body, state, now, trace, fault: fault?.plan.mode };
  const reply = fault?.plan.mode === 'refuse' ? refusal(fault.plan, action) : await answer(call);
  ledger.append({ time: now.toISOString(), action, ...trace, status: reply.status });
  if (fault?.plan.mode === 'applied_and_cut') return void response.destroy();
  const {
    status,
    type,
    body: bytes,
    headers,
  } = fault?.plan.mode === 'applied_and_failed' ? refusal(fault.plan, action) : reply;
  response.writeHead(status, { 'content-type': type, ...headers }).end(bytes);
}

async function answer(call: Call): Promise<Reply> {
  try {
    return await dispatch(call);
  } catch (cause) {
    return errorReply(cause instanceof GcpError ? cause : new GcpError(500, 'INTERNAL'), call.action);
  }
}

function refusal({ status = 503, code = 'UNAVAILABLE' }: FaultPlan, action: string): Reply {
  return errorReply(new GcpError(status, code), action);
}

/** In the form of the API that was asked: OAuth, XML or Google's JSON. */
function errorReply({ status, code, message }: GcpError, action: string): Reply {
  if (action.startsWith('Xml')) {
    const text = `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
    return { status, type: 'application/xml', body: Buffer.from(text) };
  }
  const value =
    action === 'ExchangeToken' || action === 'DownscopeToken'
      ? { error: code, error_description: message }
      : { error: { code: status, message, status: code } };
  return { status, type: 'application/json', body: Buffer.from(JSON.stringify(value)) };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > bodyBytesMax) throw new GcpError(413, 'TOO_LARGE');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
