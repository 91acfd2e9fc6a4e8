import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { FakeClock } from './fake-clock.ts';

/** One request as it came in. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly bearer: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface Fault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** The work is done, but the answer is lost. */
  readonly dropAnswer?: boolean;
  /** No answer until the connection closes. */
  readonly hang?: boolean;
}

interface FakeTask {
  readonly id: string;
  readonly key: string;
  state: string;
  stateReason: string | null;
  leaseUntilMs: number;
}

type Reply = { status: number; body: unknown; headers?: Readonly<Record<string, string>> };

export const granted = [
  {
    id: 'grt_1',
    name: 'read',
    tool: 's3.read',
    resource: 'arn:aws:s3:::invoices/2026q3/**',
    actions: ['read'],
  },
  {
    id: 'grt_2',
    name: 'post',
    tool: 'report.post',
    resource: 'https://reports.example/x',
    actions: ['write'],
  },
];
export const key = 'arn:aws:s3:::invoices/2026q3/a.pdf';

/**
 * Speaks the part of contract.md section 5 that the sdk uses, over real HTTP on loopback: assertions that work once,
 * task tokens that run out, leases that lapse, grants that refuse. `faults` are taken in order, by the next requests
 * whose path holds their key.
 */
export class FakeBroker {
  readonly clock = new FakeClock();
  readonly seen: Seen[] = [];
  readonly secrets = new Set<string>();
  readonly faults: { path: string; fault: Fault }[] = [];
  leaseSeconds = 300;
  tokenSeconds = 300;
  credentialSeconds = 60;
  /** How far the server's clock is ahead of ours. */
  skewMs = 0;
  readonly #tasks = new Map<string, FakeTask>();
  readonly #used = new Set<string>();
  readonly #waiting: { path: string; count: number; resolve: () => void }[] = [];
  readonly #server: Server;
  #count = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  assertion(): string {
    return this.#secret(`assertion.${++this.#count}.x`);
  }

  fail(path: string, ...faults: Fault[]): void {
    for (const fault of faults) this.faults.push({ path, fault });
  }

  of(path: string): Seen[] {
    return this.seen.filter((one) => one.path.includes(path));
  }

  /** Resolves once `count` requests to the path have been answered. */
  answered(path: string, count: number): Promise<void> {
    if (this.of(path).length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ path, count, resolve }));
  }

  task(id: string): FakeTask {
    const task = this.#tasks.get(id);
    if (task === undefined) throw new Error('no such task');
    return task;
  }

  /** What an operator does. */
  change(id: string, state: string, stateReason: string | null = null): void {
    Object.assign(this.task(id), { state, stateReason });
  }

  get taskCount(): number {
    return this.#tasks.size;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method = '', url: path = '', headers } = request;
    const bearer = headers.authorization?.replace('Bearer ', '');
    const seen = { method, path, headers, body, bearer };
    const at = this.faults.findIndex((one) => path.includes(one.path));
    const [{ fault } = { fault: undefined }] = at < 0 ? [] : this.faults.splice(at, 1);
    this.seen.push(seen);
    if (fault?.hang === true) return;
    const reply: Reply =
      fault === undefined || fault.dropAnswer === true
        ? this.#answer(seen)
        : { status: fault.status ?? 503, body: fault.body ?? '', headers: fault.headers ?? {} };
    if (fault?.dropAnswer === true) response.destroy();
    else {
      const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
      const date = new Date(this.#nowMs()).toUTCString();
      response.writeHead(reply.status, { 'content-type': 'application/json', date, ...reply.headers });
      response.end(text);
    }
    for (const one of [...this.#waiting])
      if (this.of(one.path).length >= one.count) {
        this.#waiting.splice(this.#waiting.indexOf(one), 1);
        response.once('close', () => setImmediate(one.resolve));
      }
  }

  #answer({ method, path, bearer, body, headers }: Seen): Reply {
    if (path === '/token') return this.#exchange(new URLSearchParams(body));
    if (path === '/v1/tasks') return this.#open(bearer ?? '', String(headers['idempotency-key'] ?? ''));
    const [, id = '', verb = ''] = /^\/v1\/tasks\/([^/]+)\/?(.*)$/.exec(path) ?? [];
    const task = this.#tasks.get(id);
    if (!this.#proves(bearer ?? '', id))
      return problem(401, 'unauthenticated', 'A valid bearer token is needed.');
    if (task === undefined) return problem(404, 'task_unknown', 'No such task.');
    if (verb === 'end') {
      if (task.state === 'open' || task.state === 'suspended') task.state = JSON.parse(body).outcome;
      const ending = { total: 1, confirmed: 0, pending: 1, byExpiry: 0, worstCaseAt: '2026-11-24T12:01:00Z' };
      return { status: 200, body: { state: task.state, ending } };
    }
    const lapsed = task.state === 'open' && task.leaseUntilMs <= this.#nowMs();
    if (lapsed) Object.assign(task, { state: 'abandoned', stateReason: 'lease lost' });
    if (method === 'POST' && task.state === 'open')
      task.leaseUntilMs = this.#nowMs() + this.leaseSeconds * 1000;
    return { status: 200, body: this.#view(task, method === 'POST') };
  }

  #open(bearer: string, idempotencyKey: string): Reply {
    const known = [...this.#tasks.values()].find(
      (one) => one.key === idempotencyKey && idempotencyKey !== '',
    );
    if (known !== undefined) return { status: 201, body: this.#view(known, false) };
    const assertion = bearer.startsWith('assertion.');
    // A task token opens beneath its own task.
    const parent = [...this.#tasks.values()].find(({ id: one }) => this.#proves(bearer, one));
    if (!assertion && parent === undefined)
      return problem(401, 'unauthenticated', 'A valid bearer token is needed.');
    if (this.#used.has(bearer))
      return problem(401, 'assertion_replayed', 'The token is not acceptable here.');
    if (assertion) this.#used.add(bearer);
    const id = `tsk_${String(this.#tasks.size + 1).padStart(26, '0')}`;
    const leaseUntilMs = this.#nowMs() + this.leaseSeconds * 1000;
    const task = { id, key: idempotencyKey, state: 'open', stateReason: null, leaseUntilMs };
    this.#tasks.set(id, task);
    return { status: 201, body: this.#view(task, true) };
  }

  #exchange(form: URLSearchParams): Reply {
    const [detail] = JSON.parse(form.get('authorization_details') ?? '[]');
    const subject = form.get('subject_token') ?? '';
    if (!this.#proves(subject, detail.task) || this.#used.has(subject))
      return oauth(400, this.#used.has(subject) ? 'assertion_replayed' : 'assertion_invalid');
    if (subject.startsWith('assertion.')) this.#used.add(subject);
    const task = this.#tasks.get(detail.task);
    if (task === undefined) return oauth(400, 'task_unknown');
    if (task.state === 'suspended') return oauth(400, 'task_suspended');
    if (task.state !== 'open') return oauth(400, 'task_ended');
    if (!granted.some(({ tool }) => tool === detail.tool)) return oauth(400, 'tool_not_granted');
    if (detail.tool === 's3.read' && !detail.identifier.startsWith(key.slice(0, -5)))
      return oauth(400, 'resource_outside_grant');
    const number = ++this.#count;
    const expiration = new Date(this.#nowMs() + this.credentialSeconds * 1000).toISOString();
    const aws = detail.tool === 's3.read';
    const credential = aws
      ? JSON.stringify({
          Version: 1,
          AccessKeyId: `ASIA${number}`,
          SecretAccessKey: this.#secret(`secret-key-${number}`),
          SessionToken: this.#secret(`session-token-${number}`),
          Expiration: expiration,
        })
      : this.#secret(`tool-token-${number}`);
    const kind = aws
      ? 'urn:mayfly:token-type:aws-credentials'
      : 'urn:ietf:params:oauth:token-type:access_token';
    const issuance = { id: `isn_${String(number).padStart(26, '0')}`, task: task.id };
    const body = { access_token: credential, issued_token_type: kind, token_type: aws ? 'N_A' : 'Bearer' };
    return { status: 200, body: { ...body, expires_in: this.credentialSeconds, issuance } };
  }

  #view(task: FakeTask, withToken: boolean): Record<string, unknown> {
    const { id, state, stateReason, leaseUntilMs } = task;
    const expiresAt = new Date(leaseUntilMs + 3_600_000).toISOString();
    const view = { id, state, stateReason, leaseExpiresAt: new Date(leaseUntilMs).toISOString(), expiresAt };
    const all = { ...view, template: 'invoice-reconcile', grants: granted };
    return withToken && state === 'open' ? { ...all, taskToken: this.#taskToken(id) } : all;
  }

  #taskToken(id: string): string {
    const iat = Math.floor(this.#nowMs() / 1000);
    const claims = { txn: id, iat, exp: iat + this.tokenSeconds, jti: ++this.#count };
    return this.#secret(`task.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`);
  }

  /** An assertion proves its owner for every task; a task token for its own, until it runs out. */
  #proves(token: string, task: string): boolean {
    if (token.startsWith('assertion.')) return true;
    if (!token.startsWith('task.')) return false;
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    return claims.txn === task && claims.exp * 1000 > this.#nowMs();
  }

  #secret(text: string): string {
    this.secrets.add(text);
    return text;
  }

  #nowMs(): number {
    return this.clock.now().getTime() + this.skewMs;
  }
}

function problem(status: number, reason: string, title: string): Reply {
  return { status, body: { type: `x/errors/${reason}`, title, status, detail: 'Do it right.', reason } };
}

function oauth(status: number, reason: string): Reply {
  const issuance = `isn_${'0'.repeat(25)}9`;
  const error = reason.startsWith('assertion') ? 'invalid_request' : 'invalid_target';
  return { status, body: { error, error_description: sentences[reason], reason, issuance_id: issuance } };
}

const sentences: Readonly<Record<string, string>> = {
  tool_not_granted: 'The tool is not granted to this task.',
  resource_outside_grant: 'The resource lies outside the grant.',
  task_ended: 'The task has ended.',
  task_suspended: 'The task is suspended.',
  task_unknown: 'No such task.',
  assertion_invalid: 'The token is not acceptable here.',
  assertion_replayed: 'The token is not acceptable here.',
};
