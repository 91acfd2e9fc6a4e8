import { expect, test } from '@jest/globals';
import { openTaskBody } from './api.ts';
import { parseAuthorizationDetails } from './authorization-details.ts';

const taskId = 'tsk_01KASW9NF6FY09M6SC7N75YR3H';
const taskUuid = '019ab3c4-d5e6-7f80-9a1b-2c3d4e5f6071';
const call = { type: 'mayfly_tool_call', task: taskId, tool: 's3.read', identifier: 'arn:aws:s3:::b/k' };
const opening = { template: 'invoice-reconcile', ref: 'run-7' };
const parse = (...details: unknown[]) => parseAuthorizationDetails(JSON.stringify(details));
const problem = (...details: unknown[]) => {
  const parsed = parse(...details);
  return parsed.ok ? 'accepted' : parsed.problem;
};

test('takes one call with every field and gives the task in canonical form', () => {
  const more = {
    actions: ['read', 'list'],
    ttl: 60,
    purpose: 'Close the quarter.',
    args_digest: 'a'.repeat(64),
  };
  expect(parse({ ...call, ...more })).toEqual({ ok: true, detail: { ...call, ...more, task: taskUuid } });
});

test('takes the least: type, tool and identifier', () => {
  const { task: _, ...least } = call;
  expect(parse(least)).toEqual({ ok: true, detail: least });
});

test('takes a task to be opened', () => {
  const task = { ...opening, params: { quarter: '2026q3', count: 3 }, objective: 'Reconcile.' };
  expect(parse({ ...call, task })).toEqual({ ok: true, detail: { ...call, task } });
});

test.each([
  ['none', '[]'],
  ['two', JSON.stringify([call, call])],
  ['an object without its array', JSON.stringify(call)],
  ['an array in an array', JSON.stringify([[call]])],
  ['null', 'null'],
  ['text', '"mayfly_tool_call"'],
  ['an array of null', '[null]'],
])('refuses anything but an array of exactly one object: %s', (_, text) => {
  expect(parseAuthorizationDetails(text).ok).toBe(false);
});

test.each([
  ['not JSON', '[{', 'not JSON'],
  ['empty', '', 'not JSON'],
  ['a duplicate key', '[{"type":"mayfly_tool_call","tool":"a","tool":"b"}]', 'duplicate key'],
  ['a duplicate key by escape', '[{"tool":"a","t\\u006fol":"b"}]', 'duplicate key'],
  ['NUL', '[{"purpose":"\\u0000"}]', 'text with NUL or a lone surrogate'],
  ['a number out of range', '[{"ttl":1e400}]', 'number out of range'],
  ['deep nesting', `${'['.repeat(40)}${']'.repeat(40)}`, 'nested too deeply'],
])('refuses text that is not strict JSON, with the reason: %s', (_, text, reason) => {
  expect(parseAuthorizationDetails(text)).toEqual({ ok: false, problem: reason });
});

test.each([
  ['type', 'another'],
  ['type', 'MAYFLY_TOOL_CALL'],
  ['type', undefined],
  ['tool', undefined],
  ['tool', ''],
  ['tool', 'x'.repeat(129)],
  ['tool', 7],
  ['tool', ['s3.read']],
  ['identifier', undefined],
  ['identifier', ''],
  ['identifier', 'x'.repeat(2049)],
  ['identifier', null],
  ['task', ''],
  ['task', 'grt_01KASW9NF6FY09M6SC7N75YR3H'],
  ['task', 'tsk_'],
  ['task', 7],
  ['task', null],
  ['task', [opening]],
  ['actions', []],
  ['actions', 'read'],
  ['actions', ['READ']],
  ['actions', ['read', '*']],
  ['actions', Array.from({ length: 10 }, () => 'read')],
  ['ttl', 0],
  ['ttl', -1],
  ['ttl', 1.5],
  ['ttl', '60'],
  ['ttl', 86_401],
  ['purpose', ''],
  ['purpose', 'x'.repeat(501)],
  ['args_digest', ''],
  ['args_digest', 'a'.repeat(63)],
  ['args_digest', 'A'.repeat(64)],
  ['args_digest', `${'a'.repeat(43)}=`],
  ['args_digest', `${'a'.repeat(64)}\n`],
] as const)('refuses %s of %j and names the field', (field, value) => {
  expect(problem({ ...call, [field]: value })).toMatch(new RegExp(`^0\\.${field}(\\.[0-9]+)?: [a-z_]+$`));
});

test.each([
  ['tool', 'x'.repeat(128)],
  ['identifier', 'x'.repeat(2048)],
  ['ttl', 1],
  ['ttl', 86_400],
  ['purpose', 'x'.repeat(500)],
  ['args_digest', 'a'.repeat(43)],
  ['args_digest', 'f'.repeat(64)],
  ['actions', ['read', 'list', 'create', 'write', 'delete', 'send', 'receive', 'invoke', 'decrypt']],
  ['task', { template: 'x'.repeat(128), ref: 'x'.repeat(128), objective: 'x'.repeat(500) }],
] as const)('takes %s at its limit', (field, value) => {
  expect(problem({ ...call, [field]: value })).toBe('accepted');
});

test.each([
  ['template', undefined],
  ['template', ''],
  ['template', 'x'.repeat(129)],
  ['ref', ''],
  ['ref', 'x'.repeat(129)],
  ['objective', ''],
  ['objective', 'x'.repeat(501)],
  ['params', []],
  ['params', 'quarter'],
  ['params', null],
  ['params', { a: '' }],
  ['params', { a: 'x'.repeat(129) }],
  ['params', { a: 1.5 }],
  ['params', { a: true }],
  ['params', { a: null }],
  ['params', { a: ['x'] }],
  ['params', { a: { b: 'x' } }],
  ['params', { '': 'x' }],
  ['params', { ['x'.repeat(65)]: 'x' }],
  ['params', Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`p${index}`, 'x']))],
  ['grants', []],
  ['parent', taskId],
] as const)('refuses a task to be opened with %s of %j', (field, value) => {
  expect(problem({ ...call, task: { ...opening, [field]: value } })).toMatch(/^0\.task/);
});

test.each(['act', 'resource', 'locations', 'datatypes', 'privileges', 'Tool', 'constructor', 'toString'])(
  'refuses the unknown field %s without quoting it',
  (field) => {
    expect(problem({ ...call, [field]: 'x' })).toBe('0: unknown field');
  },
);

test('__proto__ is an unknown field and an unknown parameter, never dropped in silence', () => {
  const text = (inner: string) => `[${JSON.stringify(call).slice(0, -1)},${inner}}]`;
  expect(parseAuthorizationDetails(text('"__proto__":{"ttl":1}')).ok).toBe(false);
  const task = '{"template":"t","ref":"r","params":{"quarter":"x","__proto__":"y"}}';
  expect(parseAuthorizationDetails(text('"ttl":1').replace(`"${taskId}"`, task)).ok).toBe(false);
  const body: unknown = JSON.parse('{"template":"t","params":{"__proto__":"y"}}');
  expect(openTaskBody.safeParse(body).success).toBe(false);
});

test('a problem names places of ours and never text of the caller', () => {
  const told = [
    problem({ ...call, SECRET: 1 }),
    problem({ ...call, tool: ['SECRET'] }),
    problem({ ...call, task: 'SECRET' }),
    problem({ ...call, type: 'SECRET' }),
    problem({ ...call, actions: ['SECRET'] }),
    problem({ ...call, task: { ...opening, SECRET: 1 } }),
    problem({ ...call, task: { ...opening, params: { SECRET: '' } } }),
    problem({ ...call, task: { ...opening, params: { SECRET: 'SECRET'.repeat(30) } } }),
    problem({ ...call, task: { ...opening, params: { ['SECRET'.repeat(20)]: 'x' } } }),
  ];
  for (const one of told) expect(one).not.toMatch(/SECRET|accepted/);
});
