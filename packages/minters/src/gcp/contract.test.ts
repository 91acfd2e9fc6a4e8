import { afterAll } from '@jest/globals';
import type { MintPlan, MintRequest } from '@mayfly/core';
import { type Action, parseId } from '@mayfly/protocol';
import { parseBoundary } from '@mayfly/standins';
import type { Random } from '@mayfly/testkit';
import {
  bodyMutant,
  type CloudUnderTest,
  describeMinter,
  planMutant,
  type Scope,
  type Wanted,
} from '@mayfly/testkit/contracts';
import {
  objectRequest,
  otherAccount,
  prefixRequest,
  startGcpCloud,
  unscopedRequest,
  use,
} from '../../test/gcp-cloud.ts';
import { checkPlan } from '../check.ts';
import { createGcpMinter } from './minter.ts';

const cloud = await startGcpCloud();
afterAll(() => cloud.close());
const { gcp } = cloud;

/** One cloud for all; what is counted begins anew with each subject. */
function subjectOf(action: 'SignBlob' | 'GenerateAccessToken', request: (more: object) => MintRequest) {
  cloud.reset();
  const since = gcp.ledger().length;
  return {
    minter: createGcpMinter(cloud.options),
    check: checkPlan,
    request: request(cloud.timed()),
    resource: 'gs://invoices/**',
    outside: 'gs://payroll/2026q3/a.pdf',
    secrets: () => [...cloud.assertions, ...gcp.tokens()],
    reported: () => cloud.reports,
    cloud: cloudUnderTest(action, since),
  };
}

function cloudUnderTest(action: string, since: number): CloudUnderTest {
  const hanging = cloud.nextCall(action);
  const faults = {
    refused: { mode: 'refuse', status: 403 },
    throttled: { mode: 'refuse', status: 429 },
    'not-applied': { mode: 'cut' },
    applied: { mode: 'applied_and_cut' },
    hangs: { mode: 'hold' },
    lies: { mode: 'lie_longer' },
    'lies-identity': { mode: 'lie_identity' }, // Of what is asked here, nobody could tell: see lyingWith.
  } as const;
  return {
    failNext: (fault) => void gcp.faults.arm({ action, ...faults[fault] }),
    plays: ['throttled'],
    hanging,
    get minted() {
      return gcp
        .ledger(since)
        .filter((one) => one.action === action && one.status === 200)
        .map(({ issuance }) => ({ issuanceId: parseId('isn', issuance ?? '') ?? '' }));
    },
    hold: () => {
      const held = cloud.nextCall(action);
      return { held, release: gcp.faults.arm({ action, mode: 'hold' }) };
    },
    accepts: async (minted) => (await use(minted, { gcp })) === 200,
  };
}

/**
 * How a cloud lies where it cannot lie about a life: the end of a URL is in what we sign, so it answers a signature
 * that is none; and whose token it answers nobody can see, so it answers the one that was to be narrowed.
 */
function lyingWith(of: CloudUnderTest, action: string, lie: 'lies' | 'lies-identity'): CloudUnderTest {
  return {
    ...of,
    plays: [...(of.plays ?? []), ...(lie === 'lies' ? [] : [lie])],
    get minted() {
      return of.minted;
    },
    failNext: (fault) =>
      fault === lie ? void gcp.faults.arm({ action, mode: 'lie_identity' }) : of.failNext(fault),
  };
}

const segments = ['a', 'b', '2026q3', 'x.y', 'å', 'c d', "it's", '*', '(1)', '~'] as const;

function pathOf(random: Random): string {
  return Array.from({ length: 1 + random.below(3) }, () => random.pick(segments)).join('/');
}

/** As Cloud Storage reads a signed request: its method, its path once decoded, its signed precondition. */
function urlOpens({ body }: MintPlan, { action, identifier }: Wanted): boolean {
  const [method, path = '', , ...rest] = String(body['canonicalRequest']).split('\n');
  const absent = rest.includes('x-goog-if-generation-match:0');
  const does =
    method === 'PUT' ? (absent ? 'create' : 'write') : { GET: 'read', DELETE: 'delete' }[method ?? ''];
  return does === action && identifier === `gs:/${decodeURIComponent(path)}`;
}

const objectActions = ['read', 'create', 'write', 'delete'] as const;

function objectScope(random: Random): Scope {
  const identifier = `gs://invoices/${pathOf(random)}`;
  const action = random.pick(objectActions);
  const others = [...objectActions, 'list' as const].filter((one) => one !== action);
  const elsewhere = [`${identifier}x`, `${identifier}/x`, identifier.slice(0, -1), `${identifier}%20`];
  return {
    request: { identifier, actions: [action] },
    neighbours: [
      ...elsewhere.map((one) => ({ action, identifier: one })),
      ...others.map((one) => ({ action: one, identifier })),
    ],
  };
}

const urlMutant = (name: string, change: (canonical: string) => string) =>
  planMutant(name, (plan) => {
    const canonicalRequest = change(String(plan.body['canonicalRequest']));
    return { ...plan, body: { ...plan.body, canonicalRequest } };
  });

describeMinter('the gcp minter of signed URLs', () => {
  const subject = subjectOf('SignBlob', objectRequest);
  return {
    ...subject,
    opens: urlOpens,
    scope: objectScope,
    cloud: lyingWith(subject.cloud, 'SignBlob', 'lies'),
  };
}, [
  urlMutant('a URL for another bucket', (text) => text.replace('/invoices/', '/payroll/')),
  urlMutant('a URL for the whole bucket', (text) => text.replace(/\/2026q3\S*/, '/')),
  urlMutant('a URL that writes', (text) => text.replace('GET', 'PUT')),
  urlMutant('a URL that lives longer', (text) => text.replace(/Expires=60/, 'Expires=3600')),
  urlMutant('a URL that begins later', (text) => text.replace(/Date=\d{4}/, 'Date=2099')),
  urlMutant('a URL of another service account', (text) => text.replace('finance', 'other')),
  urlMutant('a URL for another host', (text) => text.replace(/host:\S+/, 'host:evil.example')),
  urlMutant('a URL without the issuance', (text) => text.replace(/&x-mayfly-issuance=\w+/, '')),
  urlMutant('a URL with a query of its own', (text) =>
    text.replace('&X-Goog-Date', '&userProject=x&X-Goog-Date'),
  ),
  bodyMutant('a URL signed by another account', { serviceAccount: otherAccount }),
]);

const prefixActions = ['read', 'list', 'create'] as const;

/** The boundary evaluated as Google documents it, by another CEL than ours: there is none of ours. */
function boundaryOpens({ body }: MintPlan, { action, identifier }: Wanted): boolean {
  const { allows } = parseBoundary(String(body['options']));
  const [, bucket = '', name = ''] = /^gs:\/\/([^/]+)\/([\s\S]*)$/.exec(identifier) ?? [];
  const bucketName = `projects/_/buckets/${bucket}`;
  const permission = { read: 'get', list: 'list', create: 'create', delete: 'delete', write: 'delete' }[
    String(action)
  ];
  const access = { permission: `storage.objects.${permission}`, bucket };
  return action === 'list'
    ? allows({ ...access, name: bucketName, listPrefix: name })
    : allows({ ...access, name: `${bucketName}/objects/${name}`, listPrefix: undefined });
}

function prefixScope(random: Random): Scope {
  const identifier = `gs://invoices/${pathOf(random)}/`;
  const chosen = prefixActions.filter(() => random.below(2) === 0);
  const kept: readonly Action[] = chosen.length === 0 ? ['read'] : chosen;
  const bare = identifier.slice(0, -1);
  const elsewhere = [
    bare,
    `${bare}x/`,
    `${bare.slice(0, -1)}/`,
    'gs://invoices/',
    `gs://payroll/${pathOf(random)}`,
  ];
  return {
    request: { identifier, actions: kept },
    neighbours: [
      ...kept.flatMap((action) => elsewhere.map((one) => ({ action, identifier: one }))),
      ...([...prefixActions, 'delete', 'write'] as const)
        .filter((one) => !kept.includes(one))
        .map((action) => ({ action, identifier: `${identifier}x` })),
    ],
  };
}

const optionsMutant = (name: string, change: (options: string) => string) =>
  planMutant(name, (plan) => ({
    ...plan,
    body: { ...plan.body, options: change(String(plan.body['options'])) },
  }));
const scopes = (name: string) => [`https://www.googleapis.com/auth/${name}`];

describeMinter('the gcp minter of downscoped tokens', () => {
  const subject = subjectOf('GenerateAccessToken', prefixRequest);
  return {
    ...subject,
    cloud: lyingWith(subject.cloud, 'DownscopeToken', 'lies-identity'),
    outside: 'gs://payroll/2026q3/',
    opens: boundaryOpens,
    scope: prefixScope,
  };
}, [
  optionsMutant('a boundary around the bucket', (text) => text.replaceAll('2026q3/', '')),
  optionsMutant('a boundary around another bucket', (text) => text.replaceAll('invoices', 'payroll')),
  optionsMutant('a boundary without its slash', (text) => text.replaceAll('2026q3/', '2026q3')),
  optionsMutant('a boundary with a wider role', (text) => text.replaceAll('objectViewer', 'objectUser')),
  optionsMutant('a boundary with an or', (text) => text.replaceAll('\')"', '\') || true"')),
  optionsMutant('a boundary that is no condition', (text) =>
    text.replace(/,"availabilityCondition":\{[^}]*\}/, ''),
  ),
  optionsMutant('no boundary', () => '{}'),
  bodyMutant('a token that lives longer', { lifetimeSeconds: 3600 }),
  bodyMutant('a token with every scope', { scopes: scopes('cloud-platform') }),
  bodyMutant('a token that writes', { scopes: scopes('devstorage.read_write') }),
  bodyMutant('a token of another account', { serviceAccount: otherAccount }),
  planMutant('a token that says it can be taken back', (plan) => ({ ...plan, ends: { by: 'deleted' } })),
]);

describeMinter('the gcp minter of unscoped tokens', () => {
  const subject = subjectOf('GenerateAccessToken', unscopedRequest);
  const { accepts: _none, ...rest } = subject.cloud;
  return {
    ...subject,
    cloud: {
      ...rest,
      get minted() {
        return subject.cloud.minted;
      },
    },
    resource: '//pubsub.googleapis.com/**',
    outside: '//bigquery.googleapis.com/projects/p/datasets/d',
  };
}, [
  bodyMutant('a token of an account that others use', {
    serviceAccount: 'finance@acme-prod.iam.gserviceaccount.com',
  }),
  bodyMutant('a token that lives longer', { lifetimeSeconds: 3600 }),
  bodyMutant('a token that the log says is for another thing', { meantFor: '//pubsub.googleapis.com/x' }),
  planMutant('a token that says the provider narrows it', (plan) => ({
    ...plan,
    enforcement: { resource: 'provider', actions: 'provider', ttl: 'provider' },
  })),
]);
