import { IAMClient } from '@aws-sdk/client-iam';
import { Fault, type Minter, type MintPlan, type MintRequest, type Provider, Refusal } from '@mayfly/core';
import { uuidV7 } from '@mayfly/protocol';
import { type AwsOptions, type AwsStandin, type LocalIssuer, startAws, startIssuer } from '@mayfly/standins';
import type { MinterServices } from '../src/services.ts';
import { MemoryDenyStore } from './deny-store.ts';
import { awsRequest, prefixRequest } from './plans.ts';

const audience = 'sts.amazonaws.com';

/** For tests only: the stand-in AWS with a task role, a reaper role and objects, and what the minter needs of a broker. */
export interface Cloud {
  readonly aws: AwsStandin;
  readonly role: string;
  readonly otherRole: string;
  readonly provider: Provider;
  readonly store: MemoryDenyStore;
  readonly options: MinterServices;
  readonly reports: { readonly message: string; readonly context: unknown }[];
  /** Purposes of the assertions that were signed, in order. */
  readonly signed: string[];
  now(): Date;
  newId(): string;
  advance(seconds: number): void;
  /** A plan of the minter for this role, at the time of this cloud. */
  plan(minter: Minter, more?: Partial<MintRequest>): MintPlan;
  prefixPlan(minter: Minter, more?: Partial<MintRequest>): MintPlan;
  context(signal?: AbortSignal): { now: Date; signal: AbortSignal };
  calls(name: string): number;
  close(): Promise<void>;
}

/** Its issuer is made here unless one is given: keys take longer than everything else. */
export async function startCloud(
  more: AwsOptions = {},
  { spec = {}, issuer: given }: { spec?: object; issuer?: LocalIssuer } = {},
): Promise<Cloud> {
  let offsetMs = 0;
  const now = () => new Date(Date.now() + offsetMs);
  const issuer = given ?? (await startIssuer());
  const aws = await startAws({ now, ...more });
  const [role, otherRole, reaper] = createRoles(aws, issuer);
  for (const key of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf']) aws.putObject('invoices', key, key);
  const endpoints = { sts: aws.url, iam: aws.url, s3: aws.url };
  const fixed = { roles: [role, otherRole], revoker: { role: reaper }, endpoints };
  const provider = { ...awsRequest().provider, spec: { ...awsRequest().provider.spec, ...fixed, ...spec } };
  const store = new MemoryDenyStore(now);
  const [reports, signed]: [Cloud['reports'], string[]] = [[], []];
  const options: MinterServices = {
    deny: store,
    provider: (name) => (name === provider.name ? provider : undefined),
    now,
    report: (message, context) => void reports.push({ message, context }),
    federation: {
      sign: async (input) => {
        signed.push(input.purpose);
        const { sourceIdentity } = input;
        const claims =
          sourceIdentity === undefined ? {} : { 'https://aws.amazon.com/source_identity': sourceIdentity };
        return issuer.assertion({
          subject: `broker-${input.purpose}`,
          audience: input.audience,
          claims,
          // Its clock is not that of this cloud.
          lifetimeSeconds: 86_400,
        });
      },
    },
  };
  const at = (seconds: number) => new Date((Math.floor(now().getTime() / 1000) + seconds) * 1000);
  const fresh = (random: number) =>
    uuidV7(
      now().getTime(),
      Uint8Array.from({ length: 10 }, () => Math.floor(Math.random() * 256) ^ random),
    );
  const timed = () => ({ provider, now: now(), notAfter: at(60), issuanceId: fresh(1) });
  return {
    aws,
    role,
    otherRole,
    provider,
    store,
    options,
    reports,
    signed,
    now,
    newId: () => fresh(1),
    advance: (seconds) => {
      offsetMs += seconds * 1000;
    },
    plan: (minter, asked = {}) => minter.plan(awsRequest({ ...timed(), ...asked })),
    prefixPlan: (minter, asked = {}) => minter.plan(prefixRequest({ ...timed(), ...asked })),
    context: (signal = AbortSignal.timeout(20_000)) => ({ now: now(), signal }),
    calls: (name) => aws.ledger().filter(({ eventName }) => eventName === name).length,
    close: async () => {
      await aws.close();
      if (given === undefined) await issuer.close();
    },
  };
}

function createRoles(aws: AwsStandin, issuer: LocalIssuer): [string, string, string] {
  const federated = aws.createOidcProvider(issuer.issuer, [audience]);
  const host = issuer.issuer.replace('http://', '');
  const trust = (subject: string, condition: object) => ({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Federated: federated },
        Action: ['sts:AssumeRoleWithWebIdentity', 'sts:SetSourceIdentity'],
        Condition: { StringEquals: { [`${host}:sub`]: subject, [`${host}:aud`]: audience }, ...condition },
      },
      {
        Effect: 'Allow',
        Principal: { AWS: `arn:aws:iam::${aws.account}:root` },
        Action: ['sts:AssumeRole', 'sts:SetSourceIdentity'],
        Condition: condition,
      },
    ],
  });
  const allow = (Action: string | readonly string[], Resource: string) => ({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action, Resource }],
  });
  const boundary = aws.createPolicy('mayfly-boundary', allow('*', '*'));
  const task = (name: string) =>
    aws.createRole({
      name,
      boundary,
      path: '/mayfly/',
      trust: trust('broker-mint', { StringLike: { 'sts:SourceIdentity': 'mf-*' } }),
      policies: { base: allow(['s3:*', 'sts:GetScopedCredentials'], '*') },
    });
  const inline = ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy', 'iam:GetRole'];
  const reaper = aws.createRole({
    name: 'reaper',
    path: '/mayfly/',
    trust: trust('broker-revoke', {}),
    policies: { reap: allow(inline, `arn:aws:iam::${aws.account}:role/mayfly/*`) },
  });
  return [task('finance'), task('other'), reaper];
}

/** Reason, effect and detail of a fault, or `ok`. */
export async function outcome(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'ok';
  } catch (error) {
    if (error instanceof Fault) return `${error.reason} (${error.effect}): ${error.detail}`;
    if (error instanceof Refusal) return `${error.reason}: ${error.detail}`;
    return `bare error: ${error}`;
  }
}

/** The account's own administrator. */
export function rootIam({ aws }: Pick<Cloud, 'aws'>): IAMClient {
  return new IAMClient({ endpoint: aws.url, region: 'eu-west-1', credentials: aws.root, maxAttempts: 1 });
}
