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
  // Whatever is written on a task role, it never exceeds this; the reaper may write on no role without it.
  const boundary = aws.createPolicy('mayfly-boundary', {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: [
          's3:*',
          'kms:*',
          'secretsmanager:GetSecretValue',
          'dynamodb:*',
          'sqs:*',
          'lambda:InvokeFunction',
        ],
        Resource: '*',
      },
    ],
  });
  aws.createRole({
    name: 'finance',
    path: '/mayfly/',
    boundary,
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
          ...servicePermissions(aws.account),
        ],
      },
    },
  });
  const taskRoles = `arn:aws:iam::${aws.account}:role/mayfly/*`;
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
            Action: ['iam:PutRolePolicy', 'iam:DeleteRolePolicy'],
            Resource: taskRoles,
            Condition: { StringEquals: { 'iam:PermissionsBoundary': boundary } },
          },
          { Effect: 'Allow', Action: ['iam:GetRolePolicy', 'iam:GetRole'], Resource: taskRoles },
        ],
      },
    },
  });
  seedServices(aws);
  for (const name of ['2026q3/a.pdf', '2026q3/b.pdf', '2026q4/a.pdf'])
    aws.putObject('invoices', name, `invoice ${name}\n`);
  aws.putObject('invoices', 'mayfly-canary', '');
}

const keyId = '0a1b2c3d-4e5f-4a6b-8c7d-123456789abc';

/** What the task role may at most for examples/aws-services.yaml. */
function servicePermissions(account: string): object[] {
  const of = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:${account}:${rest}`;
  const allow = (Action: readonly string[], ...Resource: string[]) => ({ Effect: 'Allow', Action, Resource });
  return [
    allow(['s3:GetObject', 's3:PutObject'], 'arn:aws:s3:::contracts/*'),
    allow(['s3:ListBucket'], 'arn:aws:s3:::contracts'),
    allow(['kms:Decrypt', 'kms:GenerateDataKey'], of('kms', `key/${keyId}`)),
    allow(['secretsmanager:GetSecretValue'], of('secretsmanager', 'secret:desk/*')),
    allow(
      ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem'].map((one) => `dynamodb:${one}`),
      of('dynamodb', 'table/order*'),
    ),
    allow(['sqs:SendMessage', 'sqs:ReceiveMessage', 'sqs:DeleteMessage'], of('sqs', '*')),
    allow(['lambda:InvokeFunction'], of('lambda', 'function:quote:*')),
  ];
}

/** What examples/aws-services.yaml names, and a neighbour of each. */
function seedServices(aws: AwsStandin): void {
  for (const name of ['c1017/2026.pdf', 'c2034/2026.pdf'])
    aws.putObject('contracts', name, `contract ${name}\n`);
  aws.encryptBucket('contracts', aws.createKey(keyId));
  aws.createSecret('desk/mail', 'correct horse', { suffix: 'Ab12Cd' });
  aws.createSecret('desk/payroll', 'battery staple', { suffix: 'Ef34Gh' });
  for (const name of ['answers', 'questions']) aws.createQueue(name);
  for (const name of ['orders', 'order-log']) aws.createTable(name, { partition: 'customer', sort: 'order' });
  for (const alias of ['prod', 'test']) aws.createFunction('quote', alias, () => ({ quote: alias }));
}
