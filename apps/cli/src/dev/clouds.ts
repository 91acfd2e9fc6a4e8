import { type AwsStandin, type LocalIssuer, startAws, startIssuer } from '@mayfly/standins';

/** What `mayfly dev` and the demo need around the broker: a workload issuer, one for people, and a stand-in AWS. */
export interface LocalClouds {
  readonly workloads: LocalIssuer;
  readonly people: LocalIssuer;
  readonly aws: AwsStandin;
  close(): Promise<void>;
}

export interface LocalCloudsOptions {
  readonly federationIssuer: string;
  readonly assertionBearer: string;
  /** Where people come back to the broker from their issuer; left out, nobody signs in there. */
  readonly signInCallback?: string;
  readonly latencyMs?: number;
  readonly scopedSessions?: boolean;
}

/** Of the broker at the issuer for people. */
export const devClientId = 'mayfly-dev';

export async function startClouds(options: LocalCloudsOptions): Promise<LocalClouds> {
  const { federationIssuer, assertionBearer, signInCallback, latencyMs, scopedSessions } = options;
  const workloads = await startIssuer({ assertionBearer });
  const people = await startIssuer({
    assertionBearer,
    ...(signInCallback === undefined
      ? {}
      : { clients: [{ clientId: devClientId, redirectUris: [signInCallback] }] }),
  });
  const aws = await startAws({
    ...(latencyMs === undefined ? {} : { latencyMs }),
    ...(scopedSessions === undefined ? {} : { scopedSessions }),
  });
  seedAccount(aws, federationIssuer);
  return {
    workloads,
    people,
    aws,
    close: async () => {
      await Promise.all([workloads.close(), people.close(), aws.close()]);
    },
  };
}

/** The account as docs/clouds/aws.md sets one up: OIDC provider, a task role as ceiling, a reaper role. */
function seedAccount(aws: AwsStandin, federationIssuer: string): void {
  const provider = aws.createOidcProvider(federationIssuer, ['sts.amazonaws.com']);
  const key = federationIssuer.replace(/^https?:\/\//, '');
  const trust = (purpose: 'mint' | 'revoke', actions: string[], condition: object) => ({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Federated: provider },
        Action: actions,
        Condition: {
          StringEquals: {
            [`${key}:sub`]: `mayfly:local-aws:${purpose}`,
            [`${key}:aud`]: 'sts.amazonaws.com',
          },
          ...condition,
        },
      },
    ],
  });
  aws.createRole({
    name: 'finance',
    path: '/mayfly/',
    trust: trust('mint', ['sts:AssumeRoleWithWebIdentity', 'sts:SetSourceIdentity'], {
      StringLike: { 'sts:SourceIdentity': 'mf-*' },
    }),
    policies: {
      base: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
            Resource: 'arn:aws:s3:::invoices/*',
          },
          { Effect: 'Allow', Action: 's3:ListBucket', Resource: 'arn:aws:s3:::invoices' },
        ],
      },
    },
  });
  aws.createRole({
    name: 'reaper',
    path: '/mayfly/',
    trust: trust('revoke', ['sts:AssumeRoleWithWebIdentity'], {}),
    policies: {
      deny: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: ['iam:PutRolePolicy', 'iam:GetRolePolicy', 'iam:DeleteRolePolicy'],
            Resource: `arn:aws:iam::${aws.account}:role/mayfly/*`,
          },
        ],
      },
    },
  });
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf'])
    aws.putObject('invoices', name, `invoice ${name}\n`);
}
