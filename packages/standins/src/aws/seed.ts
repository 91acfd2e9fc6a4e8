import { randomBytes, randomUUID } from 'node:crypto';
import { arnOf } from './authorize.ts';
import { parsePolicy } from './evaluate.ts';
import { type AwsState, identifier } from './state.ts';

export interface SeedRole {
  readonly name: string;
  readonly path?: string;
  readonly trust: unknown;
  /** Inline policies by name. */
  readonly policies: Readonly<Record<string, unknown>>;
  readonly maxSessionSeconds?: number;
  /** ARN of the managed policy that is its permissions boundary. */
  readonly boundary?: string;
}

/** What an account holds before anybody calls; each answers the ARN of what it made. */
export interface Seeds {
  createRole(role: SeedRole): string;
  createPolicy(name: string, document: unknown): string;
  createOidcProvider(url: string, clientIds: readonly string[]): string;
  putObject(bucket: string, key: string, body: string): void;
  /** From now on the bucket's objects are encrypted under this key, each by itself or under a key of the bucket. */
  encryptBucket(bucket: string, kmsKey: string, context?: 'object' | 'bucket'): void;
  createKey(id?: string): string;
  /** The ARN gets its six characters; `suffix` chooses them. */
  createSecret(name: string, value: string, more?: { suffix?: string; kmsKey?: string }): string;
  createQueue(name: string): string;
  createTable(name: string, keys: { partition: string; sort?: string }): string;
  createFunction(name: string, qualifier: string, run: (payload: string) => unknown): string;
}

export function createSeeds(state: AwsState, now: () => Date): Seeds {
  return {
    createRole: (role) => seedRole(role, state, now()),
    createOidcProvider: (url, clientIds) => {
      const arn = `arn:aws:iam::${state.account}:oidc-provider/${url.replace(/^https?:\/\//, '')}`;
      state.providers.set(arn, { arn, url, clientIds });
      return arn;
    },
    createPolicy: (name, document) => {
      const arn = `arn:aws:iam::${state.account}:policy/${name}`;
      state.managed.set(arn, parsePolicy(JSON.stringify(document)));
      return arn;
    },
    putObject: (bucket, key, body) => {
      const objects = state.buckets.get(bucket) ?? new Map();
      state.buckets.set(bucket, objects);
      const stored = { contentType: 'text/plain', etag: '"seed"', modified: now() };
      objects.set(key, { body: Buffer.from(body), ...stored });
    },
    encryptBucket: (bucket, kmsKey, context = 'object') => {
      state.encryption.set(bucket, { kmsKey, context });
    },
    createKey: (id = randomUUID()) => {
      const arn = arnOf(state, 'kms', `key/${id}`);
      state.keys.set(arn, randomBytes(32));
      return arn;
    },
    createSecret: (name, value, { suffix = identifier(6), kmsKey } = {}) => {
      const arn = arnOf(state, 'secretsmanager', `secret:${name}-${suffix}`);
      const versions = [{ id: randomUUID(), stage: 'AWSCURRENT', value }];
      state.secrets.set(arn, { arn, name, kmsKey, versions });
      return arn;
    },
    createQueue: (name) => {
      state.queues.set(name, []);
      return arnOf(state, 'sqs', name);
    },
    createTable: (name, { partition, sort }) => {
      state.tables.set(name, { partition, sort, items: new Map() });
      return arnOf(state, 'dynamodb', `table/${name}`);
    },
    createFunction: (name, qualifier, run) => {
      state.functions.set(`${name}:${qualifier}`, run);
      return arnOf(state, 'lambda', `function:${name}:${qualifier}`);
    },
  };
}

function seedRole(
  { name, path = '/', trust, policies, boundary, maxSessionSeconds = 3600 }: SeedRole,
  state: AwsState,
  created: Date,
): string {
  const arn = `arn:aws:iam::${state.account}:role${path}${name}`;
  const inline = new Map(
    Object.entries(policies).map(([policyName, document]) => {
      const text = JSON.stringify(document);
      return [policyName, { text, policy: parsePolicy(text), effectiveAt: 0 }] as const;
    }),
  );
  state.roles.set(name, {
    name,
    path,
    arn,
    id: `AROA${identifier(17)}`,
    trust: parsePolicy(JSON.stringify(trust)),
    maxSessionSeconds,
    boundaryArn: boundary,
    inline,
    created,
  });
  return arn;
}
