import { readFileSync } from 'node:fs';
import { fail } from './exit.ts';

/** How the CLI speaks to a broker: contract.md section 2's environment, never an assertion on the command line. */
export interface Client {
  readonly server: string;
  /** JSON of a /v1 route; refusals and absence end the command with their exit code. */
  api(method: string, path: string, options?: ApiOptions): Promise<Json>;
  /** `POST /token`. */
  exchange(form: Readonly<Record<string, string>>): Promise<Json>;
  /** What is presented as subject token. */
  subject(): Promise<{ readonly token: string; readonly kind: 'jwt' | 'access_token' }>;
}

export interface ApiOptions {
  readonly json?: unknown;
  readonly yaml?: string;
}

export type Json = Readonly<Record<string, unknown>>;

type Environment = Readonly<Record<string, string | undefined>>;

const requestTimeoutMs = 30_000;

export function createClient(env: Environment = process.env): Client {
  const server = env['MAYFLY_SERVER'] ?? 'http://127.0.0.1:8080';
  const subject = () => resolveSubject(env);
  return {
    server,
    subject,
    api: async (method, path, { json, yaml } = {}) => {
      const { token } = await subject();
      const type = yaml === undefined ? 'application/json' : 'application/yaml';
      const body = yaml ?? (json === undefined ? undefined : JSON.stringify(json));
      const headers = {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': type }),
      };
      return read(
        await send(`${server}${path}`, { method, headers, ...(body === undefined ? {} : { body }) }),
      );
    },
    exchange: async (form) =>
      read(await send(`${server}/token`, { method: 'POST', body: new URLSearchParams(form) })),
  };
}

/** Task token, assertion itself, its file (read again at each use), its command; then the projected token of Kubernetes. */
async function resolveSubject(env: Environment): Promise<{ token: string; kind: 'jwt' | 'access_token' }> {
  const taskToken = env['MAYFLY_TASK_TOKEN'];
  if (taskToken) return { token: taskToken, kind: 'access_token' };
  const assertion = env['MAYFLY_ASSERTION'];
  if (assertion) return { token: assertion, kind: 'jwt' };
  const file = env['MAYFLY_ASSERTION_FILE'] ?? projected();
  if (file !== undefined) return { token: readFileSync(file, 'utf8').trim(), kind: 'jwt' };
  const command = env['MAYFLY_ASSERTION_COMMAND'];
  if (command) return { token: await runCommand(command), kind: 'jwt' };
  return fail(
    2,
    'no identity: set MAYFLY_ASSERTION, MAYFLY_ASSERTION_FILE, MAYFLY_ASSERTION_COMMAND or MAYFLY_TASK_TOKEN',
  );
}

const projectedToken = '/var/run/secrets/mayfly/token';

function projected(): string | undefined {
  try {
    readFileSync(projectedToken);
    return projectedToken;
  } catch {
    return undefined;
  }
}

async function runCommand(command: string): Promise<string> {
  const { exec } = await import('node:child_process');
  const { promisify } = await import('node:util');
  try {
    return (await promisify(exec)(command, { timeout: requestTimeoutMs })).stdout.trim();
  } catch {
    return fail(3, 'MAYFLY_ASSERTION_COMMAND failed');
  }
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(requestTimeoutMs) });
  } catch {
    return fail(3, `no answer from ${new URL(url).origin}; set MAYFLY_SERVER, or start the broker`);
  }
}

async function read(answer: Response): Promise<Json> {
  const body: unknown = await answer.json().catch(() => ({}));
  const value: Json = typeof body === 'object' && body !== null ? { ...body } : {};
  if (answer.ok) return value;
  return fail(answer.status === 503 || answer.status >= 500 ? 3 : 1, describeRefusal(value, answer.status));
}

/** One form for OAuth errors and problems: what is wrong, what to do, whom to ask. */
function describeRefusal(body: Json, status: number): string {
  const reason = String(body['reason'] ?? body['error'] ?? status);
  const says = String(body['title'] ?? body['error_description'] ?? 'refused');
  const errors = Array.isArray(body['errors'])
    ? body['errors'].map((one) => `\n${String(one)}`).join('')
    : '';
  const todo = body['detail'] === undefined ? '' : ` ${String(body['detail'])}`;
  const issuance =
    body['issuance_id'] === undefined ? '' : ` See: mayfly explain ${String(body['issuance_id'])}`;
  return `${reason}: ${says}${todo}${issuance}${errors}`;
}
