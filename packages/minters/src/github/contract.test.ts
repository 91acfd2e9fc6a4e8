import { afterAll, beforeAll } from '@jest/globals';
import { Fault, type Minted, type MintPlan } from '@mayfly/core';
import { type GithubStandin, startGithub } from '@mayfly/standins';
import type { Random } from '@mayfly/testkit';
import {
  bodyMutant,
  describeMinter,
  type MinterUnderTest,
  planMutant,
  type Scope,
  type Wanted,
} from '@mayfly/testkit/contracts';
import { MemoryDenyStore } from '../../test/deny-store.ts';
import { githubProvider, githubRequest } from '../../test/small-requests.ts';
import { checkPlan } from '../check.ts';
import { createGithubMinter } from './minter.ts';
import { enforcementOf, githubBody } from './plan.ts';

/** Stands still: what is minted again then ends at the same time. */
const started = new Date();
const now = () => started;
let github: GithubStandin;
let privateKey: string;
/** Has an App, an owner and repositories of the same names. */
let elsewhere: GithubStandin;
let keyElsewhere: string;

beforeAll(async () => {
  [github, elsewhere] = [await startGithub({ now }), await startGithub({ now })];
  const app = { appId: '123456', installationId: '7890', owner: 'acme' };
  const repositories = ['webshop', 'billing', 'x.y'];
  const write = 'write' as const;
  const permissions = { contents: write, pull_requests: write, issues: write, administration: write };
  privateKey = github.createInstallation({ ...app, repositories, permissions });
  keyElsewhere = elsewhere.createInstallation({ ...app, repositories, permissions });
});
afterAll(() => Promise.all([github.close(), elsewhere.close()]));

function subject(): MinterUnderTest {
  const provider = githubProvider(github.url);
  const second = { ...githubProvider(elsewhere.url), name: 'second-github' };
  let current = provider;
  const tokens: string[] = [];
  const reports: unknown[] = [];
  const minter = createGithubMinter({
    deny: new MemoryDenyStore(now),
    provider: (name) => (name === second.name ? second : current),
    now,
    report: (...told) => void reports.push(told),
    federation: { sign: () => Promise.reject(new Fault('internal', { effect: 'none' })) },
    files: {
      authority: () => Promise.reject(new Error('not allowed')),
      token: () => Promise.reject(new Error('not allowed')),
      privateKey: async (name) => (name === second.name ? keyElsewhere : privateKey),
    },
  });
  return {
    minter: {
      ...minter,
      mint: async (plan, context) => {
        const minted = await minter.mint(plan, context);
        tokens.push(minted.credential.reveal());
        return minted;
      },
    },
    check: checkPlan,
    request: githubRequest(provider, { now: started }),
    resource: 'https://github.com/acme/**',
    outside: 'https://github.com/other/webshop',
    second: { request: githubRequest(second, { now: started }), accepts: acceptsAt(elsewhere) },
    move: () => {
      current = githubProvider(elsewhere.url);
    },
    cloud: cloudOf(github.ledger().length),
    opens,
    scope,
    secrets: () => [...privateKey.split('\n').filter((line) => line.length > 40), ...tokens],
    reported: () => reports,
    close: () => github.faults.clear(),
  };
}

function cloudOf(since: number): NonNullable<MinterUnderTest['cloud']> {
  const create = 'create token';
  return {
    failNext: (fault) => {
      switch (fault) {
        case 'refused':
          return void github.faults.arm({ action: '*', mode: 'refuse', status: 422 });
        case 'throttled':
          return void github.faults.arm({ action: '*', mode: 'refuse', status: 429 });
        case 'not-applied':
          return void github.faults.arm({ action: '*', mode: 'cut' });
        case 'applied':
          return void github.faults.arm({ action: create, mode: 'applied_and_cut' });
        case 'hangs':
          return void github.faults.arm({ action: create, mode: 'hold' });
        case 'lies':
          return void github.faults.arm({ action: create, mode: 'lie_longer' });
        case 'lies-identity':
          return void github.faults.arm({ action: create, mode: 'lie_identity' });
        default:
          return fault satisfies never;
      }
    },
    plays: ['throttled', 'lies-identity'],
    get hanging() {
      return github.faults.taken;
    },
    get minted() {
      const records = github.ledger().slice(since);
      return records.flatMap(({ action, hashedToken }) =>
        action === create && hashedToken !== null ? [{ issuanceId: hashedToken }] : [],
      );
    },
    hold: () => {
      const held = github.faults.taken;
      return { held, release: github.faults.arm({ action: create, mode: 'hold' }) };
    },
    accepts: acceptsAt(github),
  };
}

const acceptsAt =
  ({ url }: GithubStandin) =>
  async (minted: Minted) => {
    const authorization = `Bearer ${minted.credential.reveal()}`;
    const answered = await fetch(`${url}/repos/acme/webshop/contents/README.md`, {
      headers: { authorization },
    });
    return answered.status === 200;
  };

const accesses = {
  'github.repository': 'contents',
  'github.pull-requests': 'pull_requests',
  'github.issues': 'issues',
} as const;

/** What a token of this body may do for the access that is asked about, as GitHub's permissions are read. */
function opens({ body, access }: MintPlan, { action, identifier }: Wanted): boolean {
  const { owner, repositories, permissions } = githubBody.parse(body);
  const named = repositories.some((name) => identifier === `https://github.com/${owner}/${name}`);
  const permission = Object.entries(accesses).find(([name]) => name === access)?.[1] ?? '';
  const level = permissions[permission];
  if (Object.keys(permissions).some((one) => one !== permission && one !== 'metadata')) return true;
  return named && (level === action || (level === 'write' && action === 'read'));
}

function scope(random: Random): Scope {
  const repository = random.pick(['webshop', 'billing', 'x.y']);
  const identifier = `https://github.com/acme/${repository}`;
  const [granted, beyond] = random.pick<[('read' | 'write')[], Wanted['action'][]]>([
    [['read'], ['write', 'delete']],
    [['write'], ['delete']],
    [
      ['read', 'write'],
      ['delete', 'create'],
    ],
  ]);
  const elsewhere = [
    `https://github.com/acme/${repository}-2`,
    `https://github.com/acme/${repository}/settings`,
    'https://github.com/acme/',
    `https://github.com/other/${repository}`,
    `https://gitlab.com/acme/${repository}`,
  ];
  const access = random.pick(['github.repository', 'github.pull-requests', 'github.issues']);
  return {
    request: { identifier, actions: granted, access },
    neighbours: [
      ...elsewhere.flatMap((one) => granted.map((action): Wanted => ({ action, identifier: one }))),
      ...beyond.map((action): Wanted => ({ action, identifier })),
    ],
  };
}

const contents = (level: 'read' | 'write', more: object = {}) => ({
  permissions: { contents: level, metadata: 'read', ...more },
});

describeMinter('the github minter', subject, [
  bodyMutant('a token for every repository', { repositories: [] }),
  bodyMutant('a token for two repositories', { repositories: ['webshop', 'billing'] }),
  bodyMutant('a token for another repository', { repositories: ['billing'] }),
  bodyMutant('a token of another owner', { owner: 'other' }),
  bodyMutant('a token of another installation', { installationId: '7891' }),
  bodyMutant('a token of another App', { appId: '1' }),
  bodyMutant('a token of another GitHub', { api: 'https://github.example/api/v3' }),
  bodyMutant('a token that may write', contents('write')),
  bodyMutant('a token with one permission more', contents('read', { issues: 'read' })),
  bodyMutant('a token with the rights of an administrator', contents('read', { administration: 'write' })),
  bodyMutant('a token with every permission of the App', { permissions: {} }),
  planMutant('a token whose permissions are not said', (plan) => ({ ...plan, nativePermissions: [] })),
  planMutant('a promise to end within seconds', (plan) => ({
    ...plan,
    ends: { by: 'deleted', guaranteedSeconds: 5 },
  })),
  ...[{ repositories: [] }, { permissions: {} }].map((dropped) =>
    planMutant(`a token that honestly says what it dropped: ${Object.keys(dropped).join()}`, (plan) => {
      const body = { ...githubBody.parse(plan.body), ...dropped };
      return { ...plan, body, enforcement: enforcementOf(body) };
    }),
  ),
  planMutant('an enforcement that the provider does not have', (plan) => ({
    ...plan,
    enforcement: { ...plan.enforcement, resource: 'broker' },
  })),
]);
