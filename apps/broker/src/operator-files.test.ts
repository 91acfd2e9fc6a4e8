import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { completeConfig, loadConfig } from './config.ts';
import { createOperatorFiles } from './operator-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'mayfly-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const api = 'https://10.0.0.1:6443';
const detail = (run: Promise<unknown>) =>
  run.then(
    () => 'given',
    (error: unknown) => String(Reflect.get(Object(error), 'detail')),
  );

test('a token file is given for its own origin only, and only when it holds a token', async () => {
  const [token, page] = [write('token', 'a.b.c\n'), write('page', '<html>\n')];
  const config = completeConfig({ allowTokenFiles: [`${api}=${token}`, `${api}=${page}`] });
  const files = createOperatorFiles(config, {});
  expect(await files.token(token, api)).toBe('a.b.c');
  expect(await detail(files.token(token, 'https://10.0.0.2:6443'))).toBe(
    'tokenFile is not allowed for this origin',
  );
  expect(await detail(files.token('/etc/hostname', api))).toBe('tokenFile is not allowed for this origin');
  expect(await detail(files.token(page, api))).toBe('tokenFile holds no token');
});

test('an authority is a regular file of bounded size', async () => {
  const files = createOperatorFiles(completeConfig({}), {});
  expect(await files.authority(write('ca.pem', 'PEM'))).toBe('PEM');
  expect(await detail(files.authority('/dev/zero'))).toBe('/dev/zero cannot be read');
  const big = write('big', 'x'.repeat(65_537));
  expect(await detail(files.authority(big))).toBe(`${big} cannot be read`);
});

test('a private key is that of the Provider by name, read anew each time', async () => {
  const file = write('key.pem', 'first');
  const config = completeConfig({ providerKeys: { 'acme-github': { file }, other: { env: 'KEY' } } });
  const files = createOperatorFiles(config, { KEY: 'second' });
  expect([await files.privateKey('acme-github'), await files.privateKey('other')]).toEqual([
    'first',
    'second',
  ]);
  write('key.pem', 'rotated');
  expect(await files.privateKey('acme-github')).toBe('rotated');
  for (const name of ['unknown', 'constructor', '__proto__'])
    expect(await detail(files.privateKey(name))).toBe(`no private key for provider ${name}`);
});

test('private keys are named in the environment as PROVIDER=FILE', () => {
  const { providerKeys } = loadConfig({
    env: { MAYFLY_PROVIDER_KEYS: 'acme-github=/run/a.pem, b=/run/b.pem' },
  });
  expect(providerKeys).toEqual({ 'acme-github': { file: '/run/a.pem' }, b: { file: '/run/b.pem' } });
});

test.each(['acme-github', '=/a', 'acme-github=', 'a=relative', 'a=/x,a=/y', 'A=/x'])(
  'refuses %j as private keys',
  (text) => {
    expect(() => loadConfig({ env: { MAYFLY_PROVIDER_KEYS: text } })).toThrow(/providerKeys/);
  },
);

test('a private key itself is no setting', () => {
  const key = '-----BEGIN RSA PRIVATE KEY-----';
  expect(() => completeConfig({ providerKeys: { 'acme-github': { value: key } } })).toThrow(/providerKeys/);
});
