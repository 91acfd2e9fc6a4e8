import { expect, test } from '@jest/globals';
import { isStorableText, JsonError, parseJsonStrict } from './json-strict.ts';

const refused = (text: string, message: string, options?: { maxDepth?: number }) => {
  const parse = () => parseJsonStrict(text, options);
  expect(parse).toThrow(JsonError);
  expect(parse).toThrow(new RegExp(`^${message}$`));
};

test.each([
  ['at the top', '{"a":1,"a":1}'],
  ['with white space between', '{ "a" : 1 ,\n"a"\t: 2 }'],
  ['spelled with an escape', '{"a":1,"\\u0061":2}'],
  ['both escaped, in different case', '{"\\u006A":1,"\\u006a":2}'],
  ['an escaped quote', '{"\\"":1,"\\u0022":2}'],
  ['an escaped solidus', '{"/":1,"\\/":2}'],
  ['empty keys', '{"":1,"":2}'],
  ['nested', '{"a":{"b":{"c":1,"c":2}}}'],
  ['in an array', '[{"a":1},{"a":1,"a":2}]'],
  ['in an array of arrays', '[[[{"a":[],"a":{}}]]]'],
  ['after an inner object of the same key', '{"a":{"a":1},"a":2}'],
  ['after an array that holds objects', '{"a":[{"a":1}],"a":2}'],
  ['__proto__', '{"__proto__":1,"__proto__":2}'],
  ['a key that holds structure', '{"}{][:,":1,"}{][:,":2}'],
  ['a value that looks like a key between', '{"a":"\\"b\\":","a":1}'],
  ['surrogates spelled once raw and once escaped', '{"😀":1,"\\ud83d\\ude00":2}'],
])('refuses a duplicate key: %s', (_, text) => {
  refused(text, 'duplicate key');
});

test.each([
  '{"a":{"a":{"a":1}}}',
  '[{"a":1},{"a":1}]',
  '{"a":"a","b":"a"}',
  '{"a":["a","a",{"a":"a:a"}]}',
  '{"A":1,"a":2}',
  '{"a":1,"a ":2}',
  '{"\\\\":1,"\\\\\\\\":2}',
  '{"a\\":\\"":1,"a":2}',
  '{"e\u0301":1,"\u00e9":2}',
  '"a:a"',
])('keys that differ, or stand in different objects, are no duplicates: %s', (text) => {
  expect(parseJsonStrict(text)).toEqual(JSON.parse(text));
});

test.each(['1e400', '-1e400', '[1e309]', '{"exp":1e400}', '{"a":[{"b":-1e999}]}', `1${'0'.repeat(400)}`])(
  'refuses a number beyond double range: %.20s',
  (text) => {
    refused(text, 'number out of range');
  },
);

test('takes the largest number of double range', () => {
  expect(parseJsonStrict('1.7976931348623157e308')).toBe(Number.MAX_VALUE);
});

test.each([
  ['NUL', '"a\\u0000"'],
  ['NUL in a key', '{"a\\u0000":1}'],
  ['NUL deep inside', '[{"a":["\\u0000"]}]'],
  ['a lone high surrogate', '"\\ud800"'],
  ['a lone low surrogate', '"\\udc00x"'],
  ['surrogates in the wrong order', '"\\udc00\\ud800"'],
  ['a lone surrogate in a key', '{"\\ud800":1}'],
  ['a lone surrogate in a nested key', '{"a":[{"\\udfff":1}]}'],
  ['a raw lone surrogate', '"\ud800"'],
])('refuses what PostgreSQL cannot hold: %s', (_, text) => {
  refused(text, 'text with NUL or a lone surrogate');
});

test('text is storable without NUL and with paired surrogates', () => {
  expect(['', 'a', '😀', '\u0001', '\uffff'].every(isStorableText)).toBe(true);
  expect(['\u0000', 'a\u0000b', '\ud83d', '\ude00\ud83d'].some(isStorableText)).toBe(false);
});

test.each([
  '',
  ' ',
  '{',
  '{"a":1,}',
  '[1,]',
  "{'a':1}",
  '{a:1}',
  '01',
  '+1',
  '.5',
  '0x1',
  'NaN',
  'Infinity',
  'undefined',
  '"\u0001"',
  '"\\x41"',
  '1 2',
  '{}{}',
  '/**/1',
  '\ufeff1',
  '"a',
])('refuses what is not JSON: %j', (text) => {
  refused(text, 'not JSON');
});

test('the message never quotes the text', () => {
  const message = (text: string) => {
    try {
      parseJsonStrict(text);
      return 'accepted';
    } catch (error) {
      return error instanceof JsonError ? error.message : 'another error';
    }
  };
  for (const text of ['{"SECRET":1,"SECRET":2}', '"SECRET\\u0000"', '{SECRET}', '["SECRET",1e400]'])
    expect(message(text)).not.toMatch(/SECRET|accepted|another/);
});

const nested = (levels: number, inner: string) => '['.repeat(levels) + inner + ']'.repeat(levels);

test('nesting is accepted to the limit and refused beyond, whatever stands inside', () => {
  expect(parseJsonStrict(nested(16, '1'))).toBeDefined();
  refused(nested(17, '1'), 'nested too deeply');
  refused(nested(18, ''), 'nested too deeply');
  expect(parseJsonStrict('{"a":{"b":1}}', { maxDepth: 2 })).toEqual({ a: { b: 1 } });
  refused('{"a":{"b":[1]}}', 'nested too deeply', { maxDepth: 2 });
});

test('a hundred thousand levels are a refusal and no stack overflow', () => {
  refused(nested(100_000, ''), 'nested too deeply');
  refused(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 'nested too deeply');
});

test('a text of some megabytes is read, plain and escaped', () => {
  for (const one of ['x'.repeat(4_000_000), '\n'.repeat(500_000)])
    expect(parseJsonStrict(JSON.stringify({ one }))).toEqual({ one });
});

// xorshift32; the seed is printed so that a failure can be run again.
function seeded(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const letters = ['a', 'b', '"', '\\', '/', ':', '{', '}', '[', ']', ',', 'é', '😀', '\n', ' '];

/** A random value, its text as some writer might have spelled it, and whether a key is there twice. */
function writer(random: (below: number) => number) {
  let duplicate = false;
  const text = () => Array.from({ length: random(4) }, () => letters[random(letters.length)] ?? '').join('');
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const spelled = (value: string) =>
    random(2) === 0 ? JSON.stringify(value) : `"${value.split('').map(escaped).join('')}"`;
  const gap = () => [' ', '', '\n', '\t', ''][random(5)] ?? '';
  const value = (depth: number): { readonly json: string; readonly model: unknown } => {
    const kind = depth === 0 ? random(3) : random(5);
    if (kind === 0) {
      const model = text();
      return { json: spelled(model), model };
    }
    if (kind === 1) {
      const model = random(1000) - 500;
      return { json: String(model), model };
    }
    if (kind === 2) {
      const model = [true, false, null][random(3)] ?? null;
      return { json: String(model), model };
    }
    const inner = Array.from({ length: random(4) }, () => value(depth - 1));
    if (kind === 3) {
      const json = `[${gap()}${inner.map((one) => one.json).join(`${gap()},`)}${gap()}]`;
      return { json, model: inner.map((one) => one.model) };
    }
    const keys = inner.map(text);
    duplicate ||= new Set(keys).size < keys.length;
    const members = inner.map((one, n) => `${gap()}${spelled(keys[n] ?? '')}${gap()}:${one.json}`);
    const model = Object.fromEntries(inner.map((one, n) => [keys[n], one.model]));
    return { json: `{${members.join(',')}${gap()}}`, model };
  };
  return () => {
    duplicate = false;
    return { ...value(4), duplicate };
  };
}

test('a key that is written with an escape is that key, whatever was parsed before', () => {
  // What V8 has seen once it looks for again, in the text as written.
  const seen = ['{"a":1,"\\\\":1}', '{"aud":1,"\\\\u0":1}'];
  for (const text of seen) for (let times = 0; times < 3; times += 1) JSON.parse(text);
  expect(parseJsonStrict('{"a":1,"\\u002c":2}')).toEqual({ a: 1, ',': 2 });
  expect(parseJsonStrict('{"a":1,"\\"":2}')).toEqual({ a: 1, '"': 2 });
  expect(parseJsonStrict('{"aud":1,"\\u0073ub":[{"\\u0061":{"\\n":3}}],"key0":4}')).toEqual({
    aud: 1,
    sub: [{ a: { '\n': 3 } }],
    key0: 4,
  });
  const proto = parseJsonStrict('{"\\u005f_proto__":{"a":1}}');
  expect([Object.keys(Object(proto)), Object.getPrototypeOf(proto)]).toEqual([
    ['__proto__'],
    Object.prototype,
  ]);
});

test('reads what was written, but for duplicate keys', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2_147_483_647);
  console.log(`json-strict: SEED=${seed}`);
  const next = writer(seeded(seed));
  let duplicates = 0;
  for (let round = 0; round < 5_000; round += 1) {
    const { json, model, duplicate } = next();
    if (duplicate) {
      duplicates += 1;
      refused(json, 'duplicate key');
    } else expect(parseJsonStrict(json)).toStrictEqual(model);
  }
  expect(duplicates).toBeGreaterThan(50); // About 120 on average.
});
