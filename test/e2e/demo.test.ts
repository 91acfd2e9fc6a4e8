import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { request } from 'undici';
import { type DemoTarget, runDemo } from '../../apps/cli/src/dev/demo.ts';
import { startWorld, type World } from './world.ts';

/**
 * The demo shows only what the wire says: one character flipped in flight, in a key, a policy or a token, and the
 * matching step turns red while it would have been green.
 */
type Flip = (text: string, path: string) => string;
const untouched: Flip = (text) => text;

interface Tamper {
  readonly url: string;
  target: string;
  request: Flip;
  answer: Flip;
  /** Characters flipped since the last `reset`. */
  flips: number;
  reset(): void;
  close(): Promise<void>;
}

let plain: World;
/** Without scoped sessions the policy travels beside an unsigned web identity: the one place where it can be flipped. */
let unscoped: World;
let tamper: Tamper;
let stsTamper: Tamper;

beforeAll(async () => {
  tamper = await startTamper();
  stsTamper = await startTamper();
  plain = await startWorld();
  unscoped = await startWorld({
    scopedSessions: false,
    edit: (text) =>
      text.replace(/sts: "([^"]+)"/, (_, url: string) => {
        stsTamper.target = url;
        return `sts: "${stsTamper.url}"`;
      }),
  });
}, 60_000);

afterAll(async () => {
  await plain.stop();
  await unscoped.stop();
  await tamper.close();
  await stsTamper.close();
});

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function startTamper(): Promise<Tamper> {
  const state: Tamper = {
    url: '',
    target: '',
    request: untouched,
    answer: untouched,
    flips: 0,
    reset: () => Object.assign(state, { request: untouched, answer: untouched, flips: 0 }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  const flip = (edit: Flip, text: string, path: string) => {
    const edited = edit(text, path);
    state.flips += [...edited].filter((one, index) => one !== text[index]).length;
    return edited;
  };
  const server = createServer(async (incoming, outgoing) => {
    const path = incoming.url ?? '';
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(
        ([name]) => !['connection', 'transfer-encoding'].includes(name),
      ),
    );
    const bearer = headers['authorization'];
    const body = flip(state.request, (await readAll(incoming)).toString('latin1'), path);
    if (typeof bearer === 'string') headers['authorization'] = flip(state.request, bearer, path);
    const answer = await request(`${state.target}${path}`, {
      method: (incoming.method ?? 'GET') as 'GET',
      headers,
      ...(body === '' ? {} : { body: Buffer.from(body, 'latin1') }),
    });
    const text = flip(state.answer, await answer.body.text(), path);
    outgoing.writeHead(answer.statusCode, { 'content-type': String(answer.headers['content-type'] ?? '') });
    outgoing.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return Object.assign(state, {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
  });
}

function targetOf(world: World): DemoTarget {
  tamper.target = world.url;
  return {
    broker: tamper.url,
    s3: world.file.aws,
    ledger: world.file.aws,
    workload: () => world.workload(),
    person: () => world.person(),
    ref: `demo-${randomBytes(4).toString('hex')}`,
  };
}

/** The numbers of the steps that did not hold. */
async function red(world: World): Promise<number[]> {
  const steps = await runDemo(targetOf(world), () => undefined);
  expect(steps).toHaveLength(6);
  return steps.flatMap(({ held }, index) => (held ? [] : [index + 1]));
}

/** Another character of the same kind. */
const other = (one: string) =>
  one === 'A' || one === '1' ? (one === 'A' ? 'B' : '2') : /[0-9]/.test(one) ? '1' : 'A';

/** Flips the character `offset` behind the first match, once. */
function once(pattern: RegExp, offset = 0, only: (path: string) => boolean = () => true): Flip {
  let done = false;
  return (text, path) => {
    const match = done || !only(path) ? null : pattern.exec(text);
    if (match === null) return text;
    done = true;
    const at = match.index + match[0].length + offset;
    return `${text.slice(0, at)}${other(text[at] ?? '')}${text.slice(at + 1)}`;
  };
}

test.each([
  ['plain', () => plain],
  ['without scoped sessions', () => unscoped],
] as const)('with nothing flipped every step holds (%s)', async (_, world) => {
  tamper.reset();
  stsTamper.reset();
  expect(await red(world())).toEqual([]);
});

test('1 allowed: a flipped character of the secret key', async () => {
  tamper.reset();
  tamper.answer = once(/SecretAccessKey\\":\\"/, 3, (path) => path === '/token');
  expect(await red(plain)).toContain(1);
  expect(tamper.flips).toBe(1);
});

test('2 neighbour: a flipped character of the session policy opens the neighbour', async () => {
  tamper.reset();
  stsTamper.reset();
  let done = false;
  stsTamper.request = (text) => {
    const at = text.indexOf('2026q3');
    if (done || at < 0 || !text.includes('Action=AssumeRoleWithWebIdentity')) return text;
    done = true;
    return `${text.slice(0, at + 5)}*${text.slice(at + 6)}`;
  };
  expect(await red(unscoped)).toEqual([2]);
  expect(stsTamper.flips).toBe(1);
});

test('3 not granted: a flipped character of the task token is refused for another reason', async () => {
  tamper.reset();
  tamper.request = once(/subject_token=ey[^&]{60}/, 0, (path) => path === '/token');
  let exchanges = 0;
  const flip = tamper.request;
  // The second exchange of the demo is the one that must be refused.
  tamper.request = (text, path) => {
    if (path === '/token' && text.includes('grant_type')) exchanges += 1;
    return exchanges === 2 ? flip(text, path) : text;
  };
  expect(await red(plain)).toEqual([3]);
  expect(tamper.flips).toBe(1);
});

test('4 task end: a flipped character of the task token ends nothing', async () => {
  tamper.reset();
  tamper.request = once(/Bearer ey.{60}/, 0, (path) => path.endsWith('/end'));
  expect(await red(plain)).toContain(4);
  expect(tamper.flips).toBe(1);
});

test('5 same keys: a flipped digit of the expiry shows keys that were dead anyway', async () => {
  tamper.reset();
  tamper.answer = once(/"expires_at":"20/, 0, (path) => path === '/token');
  expect(await red(plain)).toEqual([5]);
  expect(tamper.flips).toBe(1);
});

test('6 audit: a flipped character of an audit row no longer fits its leaf hash', async () => {
  tamper.reset();
  tamper.answer = once(/canonical":"[^}]*reason\\":\\"/, 1, (path) => path.startsWith('/v1/audit/events'));
  expect(await red(plain)).toEqual([6]);
  expect(tamper.flips).toBe(1);
});

test('6 audit: a flipped character of the key hash no longer joins the cloud’s ledger', async () => {
  tamper.reset();
  let reads = 0;
  const flip = once(/providerKeyHash":"/, 5);
  tamper.answer = (text, path) => {
    if (!path.startsWith('/v1/issuances')) return text;
    if (text.includes('"state":"ended"')) reads += 1;
    // The read that confirms the end comes first, the one that is joined to the ledger after it.
    return reads === 2 ? flip(text, path) : text;
  };
  expect(await red(plain)).toEqual([6]);
  expect(tamper.flips).toBe(1);
});
