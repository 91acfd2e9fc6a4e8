import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `pnpm new:attestor NAME`: a folder of packages/attestors/src whose contract test fails until the attestor is done.
 * Writes nothing where something of the name exists.
 */
export function writeAttestor(name: string, packages: string): readonly string[] {
  if (!/^[a-z][a-z0-9]{1,30}$/.test(name)) throw new RangeError('NAME: 2-31 characters of a-z and 0-9');
  const folder = join(packages, 'attestors/src', name);
  if (existsSync(folder)) throw new RangeError(`${folder} exists`);
  mkdirSync(folder);
  const files: readonly (readonly [string, string])[] = [
    ['attestor.ts', attestor(name)],
    ['attestor.test.ts', contract(name)],
    ['golden.json', golden(name)],
  ];
  return files.map(([file, text]) => {
    writeFileSync(join(folder, file), text, { flag: 'wx' });
    return join(folder, file);
  });
}

const created = (name: string) => `create${name[0]?.toUpperCase()}${name.slice(1)}Attestor`;

const attestor = (name: string) => `import { type Attestor, Fault, type TrustedIssuer } from '@mayfly/core';
import type { AttestorOptions } from '../options.ts';

/** Whose tokens these are, and what makes them different. github/attestor.ts is a short example. */
export function ${created(name)}(issuer: TrustedIssuer, _options: AttestorOptions): Attestor {
  return {
    issuer: issuer.issuer,
    attest: async () => {
      throw new Fault('internal', { effect: 'none', detail: 'attestor ${name} is not built yet' });
    },
  };
}
`;

const contract = (name: string) => `import { describeAttestor } from '@mayfly/testkit/contracts';
import { underTest } from '../../test/golden.ts';
import { attestorOptions } from '../../test/issuer.ts';
import { ${created(name)} } from './attestor.ts';

describeAttestor('the ${name} attestor', {
  ...underTest('${name}/golden.json'),
  create: (issuer, readFile) => ${created(name)}(issuer, attestorOptions({ readFile })),
});
`;

/** A token that is nobody's: \`source\` is no page until somebody names one. */
const golden = (name: string) =>
  `${JSON.stringify(
    {
      source: 'the page of the provider that shows this token',
      changed: 'what differs from that page',
      now: '2026-01-01T00:01:00Z',
      issuer: { issuer: `https://${name}.example`, subjects: ['example'] },
      header: { alg: 'RS256', kid: 'example', typ: 'JWT' },
      payload: {
        iss: `https://${name}.example`,
        sub: 'example',
        aud: 'https://mayfly.example',
        iat: 1767225600,
        exp: 1767225900,
        jti: 'example',
      },
      claims: {},
    },
    null,
    2,
  )}\n`;

const steps = (name: string) => `Next:
  1. golden.json: claims as the provider's documentation shows them, with the page; only aud is ours
  2. attestor.ts: until \`npm test -- --testPathPatterns attestors/src/${name}\` is green
  3. packages/core/src/template.ts: the type; packages/attestors/src/create-attestor.ts: its attestor
  4. packages/policy/src/documents/trusted-issuer.ts: its keys and kept claims; lint-issuer.ts: its traps
  5. examples/issuers/${name}.yaml, a case in test/e2e/attestors.test.ts, a section in docs/issuers.md`;

if (import.meta.main) {
  const name = process.argv[2] ?? '';
  try {
    for (const file of writeAttestor(name, fileURLToPath(new URL('../packages/', import.meta.url))))
      console.log(`wrote ${file}`);
    console.log(steps(name));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}
