import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `pnpm new:minter NAME`: a folder of packages/minters/src whose contract test fails until the minter is done.
 * Writes nothing where something of the name exists.
 */
export function writeMinter(name: string, packages: string): readonly string[] {
  if (!/^[a-z][a-z0-9]{1,30}$/.test(name)) throw new RangeError('NAME: 2-31 characters of a-z and 0-9');
  const folder = join(packages, 'minters/src', name);
  if (existsSync(folder)) throw new RangeError(`${folder} exists`);
  mkdirSync(folder);
  const files: readonly (readonly [string, string])[] = [
    ['plan.ts', plan(name)],
    ['check.ts', check(name)],
    ['minter.ts', minter(name)],
    ['contract.test.ts', contract(name)],
  ];
  return files.map(([file, text]) => {
    writeFileSync(join(folder, file), text, { flag: 'wx' });
    return join(folder, file);
  });
}

const title = (name: string) => `${name[0]?.toUpperCase()}${name.slice(1)}`;

const plan = (name: string) => `import { type MintPlan, type MintRequest, Refusal } from '@mayfly/core';

/**
 * Pure: the narrowest credential of ${name} for one tool and one resource, as plain JSON that holds everything that will
 * be sent. A Refusal where ${name} cannot narrow this far. kubernetes/plan.ts is a short example.
 */
export function plan${title(name)}(_request: MintRequest): MintPlan {
  throw new Refusal('tool_not_granted', { detail: 'minter ${name} is not built yet' });
}
`;

const check = (name: string) => `import type { PlanCheck } from '@mayfly/core';

/** Written apart from plan.ts: reads what would be sent and proves that it opens nothing beyond the grant. */
export const check${title(name)}Plan: PlanCheck = () => 'the check of ${name} is not built yet';
`;

const minter = (
  name: string,
) => `import { type CallContext, Fault, type Minted, type Minter, type MintPlan } from '@mayfly/core';
import type { MinterServices } from '../services.ts';
import { plan${title(name)} } from './plan.ts';

/** What ${name} gives, what narrows it, and how it ends. */
export function create${title(name)}Minter(services: MinterServices): Minter {
  return {
    kind: '${name}',
    local: false,
    plan: plan${title(name)},
    mint: (plan, context) => mint(plan, services, context),
    // Right before the mint, after it, again, and while it runs; never 'gone' for what only expires.
    revoke: (plan, context) => revoke(plan, services, context),
  };
}

async function mint(_plan: MintPlan, _services: MinterServices, _context: CallContext): Promise<Minted> {
  throw new Fault('internal', { effect: 'none', detail: 'minter ${name} is not built yet' });
}

async function revoke(_plan: MintPlan, _services: MinterServices, _context: CallContext): Promise<'gone'> {
  throw new Fault('internal', { effect: 'none', detail: 'minter ${name} is not built yet' });
}
`;

const contract = (name: string) => `import type { MintPlan, MintRequest } from '@mayfly/core';
import type { Random } from '@mayfly/testkit';
import { describeMinter, type MinterUnderTest, type Scope, type Wanted } from '@mayfly/testkit/contracts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { awsRequest } from '../../test/plans.ts';
import type { MinterServices } from '../services.ts';
import { check${title(name)}Plan } from './check.ts';
import { create${title(name)}Minter } from './minter.ts';

const now = () => new Date();

/** What is asked for: an identifier and an access of ${name}, and a Provider as its document would say it. */
function request(): MintRequest {
  return awsRequest({
    identifier: '${name}://account/thing',
    access: '${name}.thing',
    actions: ['read'],
    mint: { provider: 'my-${name}', access: '${name}.thing' },
    provider: { name: 'my-${name}', type: '${name}', spec: { type: '${name}' } },
  });
}

function services(): MinterServices {
  return {
    deny: new MemoryDenyStore(now),
    provider: () => request().provider,
    now,
    report: () => undefined,
    federation: { sign: async () => 'an assertion of the broker' },
  };
}

/** Does what would be sent open this? Ask a stand-in, or read it as ${name} would; not by the code that planned it. */
function opens(_plan: MintPlan, _wanted: Wanted): boolean {
  throw new TypeError('not built yet: opens');
}

/** The next thing that could be asked for, and what lies beside it. */
function scope(_random: Random): Scope {
  throw new TypeError('not built yet: scope');
}

/** A stand-in of ${name} belongs here as \`cloud\`: packages/standins/src/github is a short example. */
function subject(): MinterUnderTest {
  return {
    minter: create${title(name)}Minter(services()),
    check: check${title(name)}Plan,
    request: request(),
    resource: '${name}://account/**',
    outside: '${name}://other/thing',
    secrets: () => ['an assertion of the broker'],
    opens,
    scope,
  };
}

// Each wrong minter that ${name} makes possible, by bodyMutant and planMutant: wider, longer, another target.
describeMinter('the ${name} minter', subject, []);
`;

const steps = (name: string) => `Next:
  1. packages/standins/src/${name}: a stand-in that verifies what the real API verifies, with tests of its own
  2. plan.ts, check.ts (by somebody who has not read plan.ts), minter.ts, contract.test.ts with its mutants:
     until \`npm test -- --testPathPatterns minters/src/${name}\` is green
  3. packages/minters/src/registry.ts and check.ts: its minter and its check
  4. packages/policy/src/documents/provider/${name}.ts, access/${name}.ts, lint-provider.ts; pnpm generate
  5. examples/clouds/${name}.yaml, test/e2e/${name}.test.ts, docs/clouds/${name}.md`;

if (import.meta.main) {
  const name = process.argv[2] ?? '';
  try {
    for (const file of writeMinter(name, fileURLToPath(new URL('../packages/', import.meta.url))))
      console.log(`wrote ${file}`);
    console.log(steps(name));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}
