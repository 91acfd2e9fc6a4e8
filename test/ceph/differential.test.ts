import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AwsStandin, startAws } from '@mayfly/standins';
import { printedSeed, seeded } from '../../packages/minters/test/plans.ts';
import { cephTest, endpoint } from './here.ts';
import { type KnownDifference, knownDifferences } from './known-differences.ts';
import { compiled, type NamedPolicy, random, written } from './policies.ts';
import { openSide, operations, type Side } from './sides.ts';

// Our stand-in's evaluator against a system that is not ours: every session policy times every operation, on both.
const randomPolicies = 60;
let aws: AwsStandin;
let [ours, theirs]: [Side | undefined, Side | undefined] = [undefined, undefined];

beforeAll(async () => {
  if (endpoint === undefined) return;
  aws = await startAws();
  const { accessKeyId, secretAccessKey } = aws.root;
  const root = `arn:aws:iam::${aws.account}:root`;
  ours = await openSide({ endpoint: aws.url, owner: { accessKeyId, secretAccessKey }, principal: root });
  const owner = {
    accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
  };
  theirs = await openSide({ endpoint, owner, principal: 'arn:aws:iam:::user/owner' });
});
afterAll(() => aws?.close());

interface Decision {
  readonly policy: string;
  readonly operation: string;
  readonly ours: number;
  readonly ceph: number;
}

async function decisions(policies: readonly NamedPolicy[]): Promise<Decision[]> {
  const all: Decision[] = [];
  for (const { name: policy, text } of policies) {
    const [left, right] = [await ours?.decide(text), await theirs?.decide(text)];
    for (const operation of Object.keys(operations))
      all.push({ policy, operation, ours: left?.get(operation) ?? 0, ceph: right?.get(operation) ?? 0 });
  }
  return all;
}

const differing = (all: readonly Decision[]) => all.filter((one) => one.ours !== one.ceph);

function explains(known: KnownDifference, { policy, operation, ours: mine, ceph }: Decision): boolean {
  const named = (names: 'all' | readonly string[], one: string) => names === 'all' || names.includes(one);
  const direction = known.ceph === 'allows' ? mine === 403 && ceph !== 403 : mine !== 403 && ceph === 403;
  return direction && named(known.policies, policy) && named(known.operations, operation);
}

cephTest(
  'named policies: the stand-in decides as Ceph does, but for the named differences and all of these',
  async () => {
    const policies = [...compiled(), ...written];
    const all = await decisions(policies);
    const different = differing(all);
    console.log(
      `${policies.length} policies x ${Object.keys(operations).length} operations = ${all.length} decisions, ${different.length} differ`,
    );
    expect(all.filter(({ ours: mine, ceph }) => mine === 0 || ceph === 0)).toEqual([]);
    const causeOf = (one: Decision) => knownDifferences.findIndex((known) => explains(known, one));
    expect(different.filter((one) => causeOf(one) < 0)).toEqual([]);
    const counted = knownDifferences.map((known, index) => ({
      ...known,
      decisions: different.filter((one) => causeOf(one) === index).length,
    }));
    expect(counted).toEqual(knownDifferences);
    // Both outcomes stand behind the numbers.
    for (const side of ['ours', 'ceph'] as const) {
      expect(all.filter((one) => one[side] === 200).length).toBeGreaterThan(100);
      expect(all.filter((one) => one[side] === 403).length).toBeGreaterThan(100);
    }
  },
  60_000,
);

cephTest(
  'random policies of what the compiler and the deny document use: no difference but that of existence',
  async () => {
    const seed = printedSeed('differential');
    const policies = random(randomPolicies, seeded(seed));
    const all = await decisions(policies);
    const different = differing(all);
    console.log(`${policies.length} random policies: ${all.length} decisions, ${different.length} differ`);
    const everywhere = knownDifferences.filter(({ policies: names }) => names === 'all');
    const unexplained = different.filter((one) => !everywhere.some((known) => explains(known, one)));
    const texts = policies.filter(({ name }) => unexplained.some(({ policy }) => policy === name));
    expect({ unexplained, texts }).toEqual({ unexplained: [], texts: [] });
  },
  60_000,
);

test('every known difference is one that an ADR names, with the number of its decisions', () => {
  const folder = fileURLToPath(new URL('../../docs/adr/', import.meta.url));
  const adrs = readdirSync(folder).map((file) => readFileSync(folder + file, 'utf8'));
  const causes = new Set(knownDifferences.map(({ cause }) => cause));
  for (const cause of causes) {
    const sum = knownDifferences
      .filter((known) => known.cause === cause)
      .reduce((total, { decisions: count }) => total + count, 0);
    expect(sum).toBeGreaterThan(0);
    const row = `| \`${cause}\` | ${sum} |`;
    expect([row, adrs.some((text) => text.includes(row))]).toEqual([row, true]);
  }
});
