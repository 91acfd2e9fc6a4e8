import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '@mayfly/broker';
import { type DevEnvironment, type DevOptions, startDev } from '../../apps/cli/src/dev/environment.ts';

/** A whole installation on free loopback ports, as `mayfly dev` makes it, for one test file. */
export interface World extends DevEnvironment {
  readonly url: string;
  readonly dataDir: string;
  workload(subject?: string, claims?: Record<string, unknown>): Promise<string>;
  person(groups?: string[]): Promise<string>;
  /** POST /token; the answer's status and body. */
  exchange(
    form: Record<string, string> | URLSearchParams | string,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  api(
    method: string,
    path: string,
    options?: { bearer?: string; json?: unknown; yaml?: string; headers?: Record<string, string> },
  ): Promise<Answer>;
  sql<Row extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
}

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of any route; each test asserts what it reads
  readonly body: any;
  readonly headers: Headers;
}

export async function startWorld(options: Partial<DevOptions> = {}): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-test-'));
  const [port, opsPort] = [await freePort(), await freePort()];
  const log = createLog({ level: 'debug', file: join(dataDir, 'mayfly.log') });
  const environment = await startDev({
    dataDir,
    listen: `127.0.0.1:${port}`,
    opsListen: `127.0.0.1:${opsPort}`,
    log,
    ...options,
  });
  const { running, clouds } = environment;
  const call = async (path: string, init: RequestInit): Promise<Answer> => {
    const answer = await fetch(`${running.url}${path}`, init);
    const text = await answer.text();
    const json = /^application\/(problem\+)?json/.test(answer.headers.get('content-type') ?? '');
    return { status: answer.status, body: json ? JSON.parse(text) : text, headers: answer.headers };
  };
  return {
    ...environment,
    url: running.url,
    dataDir,
    workload: (subject = 'reconciler', claims = {}) =>
      clouds.workloads.assertion({ subject, audience: running.url, claims }),
    person: (groups = ['platform']) =>
      clouds.people.assertion({ subject: 'jane@corp.example', audience: running.url, claims: { groups } }),
    exchange: (form, headers = {}) => {
      const body = typeof form === 'string' ? form : new URLSearchParams(form);
      return call('/token', {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      });
    },
    api: (method, path, { bearer, json, yaml, headers = {} } = {}) =>
      call(path, {
        method,
        headers: {
          ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...(yaml === undefined ? {} : { 'content-type': 'application/yaml' }),
          ...headers,
        },
        ...(json === undefined && yaml === undefined ? {} : { body: yaml ?? JSON.stringify(json) }),
      }),
    sql: async (text, values = []) => (await running.broker.store.database.pool.query(text, values)).rows,
    stop: async () => {
      await environment.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const jwtType = 'urn:ietf:params:oauth:token-type:jwt';
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
export const allowedKey = 'arn:aws:s3:::invoices/2026q3/a.pdf';

/** The form of an exchange; `detail` over the usual one. */
export function form(
  subject: string,
  detail: Record<string, unknown>,
  more: Record<string, string> = {},
): Record<string, string> {
  return {
    grant_type: tokenExchange,
    subject_token: subject,
    subject_token_type: jwtType,
    authorization_details: JSON.stringify([
      { type: 'mayfly_tool_call', tool: 's3.read', identifier: allowedKey, ...detail },
    ]),
    ...more,
  };
}

export function opening(ref: string, params: Record<string, unknown> = { quarter: '2026q3' }) {
  return { task: { template: 'invoice-reconcile', ref, params, objective: 'test' } };
}

/**
 * Below the ports that systems hand out by themselves (Linux from 32768, others from 49152): what is free there is not
 * taken in passing by the outgoing connection of another test before the broker listens. Each jest worker has its own
 * thousand, so two do not look at the same port, and each file starts anywhere in it: what a cloud was told of an issuer
 * at one port must not be what another file finds there.
 */
const portsFrom = 20_000;
const portsEach = 1_000;
let nextPort = Math.floor(Math.random() * portsEach);

/** A port of the loopback interface that nobody listens on, and that is given once in this process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < portsEach; tries += 1) {
    nextPort = (nextPort + 1) % portsEach;
    const port = portsFrom + (Number(process.env['JEST_WORKER_ID'] ?? 0) % 12) * portsEach + nextPort;
    if (await isFree(port)) return port;
  }
  throw new Error('no free port');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** Reads until it is done, or ten seconds have passed; what was read last. */
export async function until<T>(read: () => Promise<T>, done: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = await read();
    if (done(value) || Date.now() > deadline) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
