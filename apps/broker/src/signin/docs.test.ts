import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { parseDocuments } from '@mayfly/policy';
import { parse } from 'yaml';
import { completeConfig } from '../config.ts';

const page = readFileSync(new URL('../../../../docs/sign-in.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) =>
  text.replaceAll(/^ {3}/gm, ''),
);

test('what docs/sign-in.md says to paste is taken as it stands', () => {
  const [documents = '', settings = ''] = blocks;
  expect(blocks).toHaveLength(2);
  expect(completeConfig(Object(parse(settings)))).toMatchObject({
    signInIssuer: 'corp-sso',
    signInClientId: 'mayfly',
    signInScopes: ['groups'],
  });
  const { documents: parsed, errors } = parseDocuments([{ file: 'sign-in.yaml', text: documents }]);
  expect([errors, parsed.length]).toEqual([[], 2]);
});
