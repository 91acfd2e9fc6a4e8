import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import * as sdk from './index.ts';
import { FakeBroker, key } from './testing/fake-broker.ts';
import { until } from './testing/until.ts';

/** Every way in which a program or a logger prints a value, and the values inside it. */
function prints(value: unknown): string {
  const texts: string[] = [];
  const seen = new Set<unknown>();
  const walk = (one: unknown) => {
    if (one === null || (typeof one !== 'object' && typeof one !== 'function') || seen.has(one)) return;
    seen.add(one);
    texts.push(inspect(one, { depth: null, showHidden: true }), `${JSON.stringify(one)}`);
    if (typeof Reflect.get(one, 'toString') === 'function' && !Array.isArray(one)) texts.push(`${one}`);
    if (one instanceof Error) texts.push(one.stack ?? '', JSON.stringify({ ...one }));
    const printsItself = typeof Reflect.get(one, 'toJSON') === 'function';
    if (!printsItself) for (const name of Reflect.ownKeys(one)) walk(Reflect.get(one, name));
  };
  walk(value);
  return texts.join('\n');
}

async function rejected(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect('it').toBe('rejected'),
    (error: unknown) => error,
  );
}

test('no secret is printed by anything that the sdk exports, returns or throws', async () => {
  const broker = new FakeBroker();
  const server = await broker.start();
  const mayfly = new sdk.Mayfly({
    server,
    clock: broker.clock,
    env: {},
    assertion: () => broker.assertion(),
  });
  const task = await mayfly.task({ template: 'invoice-reconcile' });
  const provider = task.aws('s3.read', key);
  const credentials = await provider();
  const token = await task.token('report.post', 'https://reports.example/x');
  const refused = await rejected(task.aws('mail.send', 'x')());
  // An answer that is cut in the middle of a credential: the parser's own words would quote it.
  broker.secrets.add('half-a-secret');
  broker.fail('/token', { status: 200, body: '{"access_token":"half-a-secret' });
  const unreadable = await rejected(task.aws('s3.read', `${key}1`)());
  broker.fail('/token', {
    status: 200,
    body: {
      access_token: '{"half-a-secret',
      issued_token_type: 'urn:mayfly:token-type:aws-credentials',
      expires_in: 60,
    },
  });
  const malformed = await rejected(task.aws('s3.read', `${key}2`)());
  broker.fail('/token', { dropAnswer: true });
  const lost = await rejected(task.aws('s3.read', `${key}3`)());
  const { identity, connection } = sdk.wire({ server, env: { MAYFLY_ASSERTION: broker.assertion() } });
  const subject = await identity.subject();
  broker.change(task.id, 'suspended');
  broker.clock.advance(110_000);
  await until(() => task.signal.aborted);
  const values = [
    sdk,
    mayfly,
    task,
    provider,
    credentials,
    token,
    subject,
    identity,
    connection,
    refused,
    unreadable,
    malformed,
    lost,
    task.signal.reason,
    await mayfly.sources(),
  ];
  await broker.stop();
  const text = prints(values);
  expect(broker.secrets.size).toBeGreaterThan(6);
  for (const secret of broker.secrets) expect(text.includes(secret)).toBe(false);
  // The negative twin: the walk does find what is there to be found.
  expect(prints({ deep: [{ secret: credentials.secretAccessKey }] })).toContain(credentials.secretAccessKey);
  expect(text).toContain('[secret]');
});

test('a secret gives its value only by reveal()', () => {
  const secret = new sdk.Secret('hidden');
  expect([`${secret}`, JSON.stringify({ secret }), inspect(secret), secret.reveal()]).toEqual([
    '[secret]',
    '{"secret":"[secret]"}',
    '[secret]',
    'hidden',
  ]);
});
