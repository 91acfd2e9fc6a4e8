import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Secret } from '@mayfly/core';
import { createLog, redactedKeys } from './log.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mayfly-log-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function logged(context: object): string {
  const file = join(dir, 'log');
  createLog({ level: 'trace', file }).info(context, 'said');
  return readFileSync(file, 'utf8');
}

const secret = 'eyJ-this-is-a-secret';

test.each(redactedKeys)('%s is never logged, at any depth that we log', (key) => {
  const nested = (depth: number): object => (depth === 0 ? { [key]: secret } : { inner: nested(depth - 1) });
  for (const depth of [0, 1, 2, 3]) {
    const line = logged(nested(depth));
    expect(line).not.toContain(secret);
    expect(line).toContain('[secret]');
  }
});

test('what is no secret is logged as it is', () => {
  expect(logged({ issuance: 'isn_1', reason: 'frozen' })).toContain('"issuance":"isn_1","reason":"frozen"');
});

test('a Secret does not print, whatever its key', () => {
  expect(logged({ harmless: new Secret(secret), list: [new Secret(secret)] })).not.toContain(secret);
});

test('an error is its name, message and causes, never its properties', () => {
  const cause = Object.assign(new Error('inner'), { requestBody: secret, config: { headers: secret } });
  const line = logged({ err: Object.assign(new Error('outer', { cause }), { response: secret }) });
  expect(line).not.toContain(secret);
  expect(line).toContain('outer');
  expect(line).toContain('inner');
  expect(logged({ err: secret })).not.toContain(secret);
});

test('each line is JSON with a time in RFC 3339', () => {
  const line: unknown = JSON.parse(logged({}));
  expect(line).toMatchObject({
    level: 30,
    msg: 'said',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
  });
});
