import {
  BatchGetItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  ExecuteStatementCommand,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { DecryptCommand, EncryptCommand, GenerateDataKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  BatchGetSecretValueCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import {
  DeleteMessageCommand,
  GetQueueUrlCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AwsStandin, startAws } from './server.ts';

let aws: AwsStandin;
let role: string;
let offsetMs = 0;

beforeAll(async () => {
  aws = await startAws({ now: () => new Date(Date.now() + offsetMs) });
  role = aws.createRole({
    name: 'any',
    trust: {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::123456789012:root' }, Action: ['sts:AssumeRole'] },
      ],
    },
    policies: { all: policy({ Action: '*', Resource: '*' }) },
  });
  aws.createQueue('reports');
  aws.createTable('orders', { partition: 'customer', sort: 'order' });
  aws.createFunction('resize', 'prod', (payload) => ({ resized: JSON.parse(payload || 'null') }));
  aws.createFunction('resize', '$LATEST', () => 'unpublished');
});
afterAll(() => aws.close());

function policy(...statements: object[]) {
  return { Version: '2012-10-17', Statement: statements.map((one) => ({ Effect: 'Allow', ...one })) };
}

/** Clients of a session that this policy narrows; of the account's root without one. */
async function clients(session?: object) {
  const base = { endpoint: aws.url, region: 'eu-west-1', maxAttempts: 1 };
  const sts = new STSClient({ ...base, credentials: aws.root });
  const made =
    session === undefined
      ? undefined
      : await sts.send(
          new AssumeRoleCommand({ RoleArn: role, RoleSessionName: 'test', Policy: JSON.stringify(session) }),
        );
  const keys = made?.Credentials;
  const credentials =
    keys === undefined
      ? aws.root
      : {
          accessKeyId: String(keys.AccessKeyId),
          secretAccessKey: String(keys.SecretAccessKey),
          sessionToken: String(keys.SessionToken),
        };
  const options = { ...base, credentials };
  return {
    sqs: new SQSClient(options),
    dynamodb: new DynamoDBClient(options),
    secrets: new SecretsManagerClient(options),
    lambda: new LambdaClient(options),
    kms: new KMSClient(options),
    s3: new S3Client({ ...options, forcePathStyle: true }),
  };
}

/** `ok`, or the error's name and status. */
async function said(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'ok',
    (error: unknown) => {
      const { name, $metadata } = Object(error);
      return `${name} ${$metadata?.httpStatusCode}`;
    },
  );
}

const QueueUrl = () => `${aws.url}/123456789012/reports`;

test('SQS: a message is sent, received, hidden, and gone once it is deleted', async () => {
  const { sqs } = await clients();
  await sqs.send(new SendMessageCommand({ QueueUrl: QueueUrl(), MessageBody: 'q3 ü' }));
  const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: QueueUrl() }));
  expect(Messages.map(({ Body }) => Body)).toEqual(['q3 ü']);
  expect((await sqs.send(new ReceiveMessageCommand({ QueueUrl: QueueUrl() }))).Messages ?? []).toEqual([]);
  const [first] = Messages;
  await sqs.send(new DeleteMessageCommand({ QueueUrl: QueueUrl(), ReceiptHandle: first?.ReceiptHandle }));
  offsetMs += 31_000;
  expect((await sqs.send(new ReceiveMessageCommand({ QueueUrl: QueueUrl() }))).Messages ?? []).toEqual([]);
  offsetMs -= 31_000;
  const url = await sqs.send(new GetQueueUrlCommand({ QueueName: 'reports' }));
  expect(url.QueueUrl).toBe('https://sqs.eu-west-1.amazonaws.com/123456789012/reports');
  const none = { QueueUrl: `${aws.url}/123456789012/none`, MessageBody: 'x' };
  expect(await said(sqs.send(new SendMessageCommand(none)))).toBe('QueueDoesNotExist 400');
});

test('SQS: each permission by itself, and only on its queue', async () => {
  const { sqs } = await clients(
    policy({ Action: 'sqs:SendMessage', Resource: 'arn:aws:sqs:eu-west-1:123456789012:reports' }),
  );
  const MessageBody = 'x';
  expect(await said(sqs.send(new SendMessageCommand({ QueueUrl: QueueUrl(), MessageBody })))).toBe('ok');
  const denied = 'AccessDeniedException 403';
  expect(await said(sqs.send(new ReceiveMessageCommand({ QueueUrl: QueueUrl() })))).toBe(denied);
  expect(await said(sqs.send(new PurgeQueueCommand({ QueueUrl: QueueUrl() })))).toBe(denied);
  const other = { QueueUrl: `${QueueUrl()}2`, MessageBody };
  expect(await said(sqs.send(new SendMessageCommand(other)))).toBe(denied);
});

const key = (customer: string, order = '1') => ({ customer: { S: customer }, order: { N: order } });
const TableName = 'orders';

test('DynamoDB: items are put, got, changed, queried and deleted', async () => {
  const { dynamodb } = await clients();
  await dynamodb.send(new PutItemCommand({ TableName, Item: { ...key('u1'), total: { N: '5' } } }));
  await dynamodb.send(new PutItemCommand({ TableName, Item: key('u1', '2') }));
  await dynamodb.send(new PutItemCommand({ TableName, Item: key('u2') }));
  const changed = await dynamodb.send(
    new UpdateItemCommand({
      TableName,
      Key: key('u1'),
      UpdateExpression: 'SET #t = :t',
      ExpressionAttributeNames: { '#t': 'total' },
      ExpressionAttributeValues: { ':t': { N: '6' } },
      ReturnValues: 'ALL_OLD',
    }),
  );
  expect(changed.Attributes?.['total']).toEqual({ N: '5' });
  expect((await dynamodb.send(new GetItemCommand({ TableName, Key: key('u1') }))).Item).toEqual({
    ...key('u1'),
    total: { N: '6' },
  });
  const queried = await dynamodb.send(queryOf('u1'));
  expect(queried.Count).toBe(2);
  await dynamodb.send(new DeleteItemCommand({ TableName, Key: key('u1', '2') }));
  expect((await dynamodb.send(new ScanCommand({ TableName }))).Count).toBe(2);
});

function queryOf(customer: string, more: { IndexName?: string } = {}) {
  return new QueryCommand({
    TableName,
    KeyConditionExpression: 'customer = :c',
    ExpressionAttributeValues: { ':c': { S: customer } },
    ...more,
  });
}

test('DynamoDB: ForAllValues alone lets a scan through, as it does at AWS; Null stops it', async () => {
  const Resource = 'arn:aws:dynamodb:eu-west-1:123456789012:table/orders';
  const Action = ['dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:Scan', 'dynamodb:BatchGetItem'];
  const only = { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['u1'] } };
  const loose = await clients(policy({ Action, Resource, Condition: only }));
  expect(await said(loose.dynamodb.send(new ScanCommand({ TableName })))).toBe('ok');
  const Null = { 'dynamodb:LeadingKeys': 'false' };
  const { dynamodb } = await clients(policy({ Action, Resource, Condition: { ...only, Null } }));
  const denied = 'AccessDeniedException 400';
  const batch = (...customers: string[]) =>
    new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: customers.map((one) => key(one)) } } });
  expect(await said(dynamodb.send(new GetItemCommand({ TableName, Key: key('u1') })))).toBe('ok');
  expect(await said(dynamodb.send(queryOf('u1')))).toBe('ok');
  expect(await said(dynamodb.send(batch('u1')))).toBe('ok');
  expect(await said(dynamodb.send(new GetItemCommand({ TableName, Key: key('u2') })))).toBe(denied);
  expect(await said(dynamodb.send(queryOf('u2')))).toBe(denied);
  expect(await said(dynamodb.send(queryOf('u1', { IndexName: 'by-date' })))).toBe(denied);
  expect(await said(dynamodb.send(batch('u1', 'u2')))).toBe(denied);
  expect(await said(dynamodb.send(new ScanCommand({ TableName })))).toBe(denied);
  const Statement = `select * from "orders" where customer = 'u1'`;
  expect(await said(dynamodb.send(new ExecuteStatementCommand({ Statement })))).toBe(denied);
});

test('Secrets Manager: by ARN or name, the current version or the one that is asked for', async () => {
  const { secrets } = await clients();
  const arn = aws.createSecret('db', 'first', { suffix: 'AbCd12' });
  expect(arn).toBe('arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCd12');
  const first = await secrets.send(new GetSecretValueCommand({ SecretId: arn }));
  await secrets.send(new PutSecretValueCommand({ SecretId: 'db', SecretString: 'second' }));
  const value = async (more: object) =>
    (await secrets.send(new GetSecretValueCommand({ SecretId: 'db', ...more }))).SecretString;
  expect([
    await value({}),
    await value({ VersionStage: 'AWSPREVIOUS' }),
    await value({ VersionId: first.VersionId }),
  ]).toEqual(['second', 'first', 'first']);
  expect(await said(value({ VersionStage: 'AWSPENDING' }))).toBe('ResourceNotFoundException 400');
  expect(await said(value({ SecretId: 'none' }))).toBe('ResourceNotFoundException 400');
});

test('Secrets Manager: decided by the full ARN, however it is asked for', async () => {
  const arn = aws.createSecret('pay', 'x');
  aws.createSecret('pay-prod', 'y');
  const { secrets } = await clients(policy({ Action: 'secretsmanager:GetSecretValue', Resource: arn }));
  const get = (SecretId: string) => said(secrets.send(new GetSecretValueCommand({ SecretId })));
  const denied = 'AccessDeniedException 400';
  expect([await get(arn), await get('pay'), await get('pay-prod'), await get('none')]).toEqual([
    'ok',
    'ok',
    denied,
    denied,
  ]);
  for (const command of [
    new BatchGetSecretValueCommand({ SecretIdList: [arn] }),
    new ListSecretsCommand({}),
    new DescribeSecretCommand({ SecretId: arn }),
    new PutSecretValueCommand({ SecretId: arn, SecretString: 'z' }),
  ])
    expect(await said(secrets.send(command as GetSecretValueCommand))).toBe(denied);
  const wide = `${arn.slice(0, -6)}*`;
  const loose = await clients(policy({ Action: 'secretsmanager:GetSecretValue', Resource: wide }));
  expect(await said(loose.secrets.send(new GetSecretValueCommand({ SecretId: 'pay-prod' })))).toBe('ok');
});

test('Lambda: what is asked for by a qualifier is decided by it', async () => {
  const { lambda } = await clients();
  const Payload = Buffer.from('{"n":1}');
  const answer = await lambda.send(new InvokeCommand({ FunctionName: 'resize:prod', Payload }));
  expect(JSON.parse(answer.Payload?.transformToString() ?? '')).toEqual({ resized: { n: 1 } });
  const unqualified = 'arn:aws:lambda:eu-west-1:123456789012:function:resize';
  const base = await clients(policy({ Action: 'lambda:InvokeFunction', Resource: unqualified }));
  const prod = await clients(policy({ Action: 'lambda:InvokeFunction', Resource: `${unqualified}:prod` }));
  const invoke = (of: typeof base, FunctionName: string, Qualifier?: string) =>
    said(of.lambda.send(new InvokeCommand({ FunctionName, ...(Qualifier ? { Qualifier } : {}) })));
  const denied = 'AccessDeniedException 403';
  expect(await invoke(base, 'resize', 'prod')).toBe(denied);
  expect(await invoke(prod, 'resize', 'prod')).toBe('ok');
  expect(await invoke(prod, `${unqualified}:prod`)).toBe('ok');
  expect(await invoke(prod, 'resize')).toBe(denied);
  expect(await invoke(prod, 'resize', '$LATEST')).toBe(denied);
});

test('KMS: a ciphertext opens with its key and its context alone', async () => {
  const arn = aws.createKey();
  const { kms } = await clients();
  const EncryptionContext = { tenant: 'a' };
  const { CiphertextBlob } = await kms.send(
    new EncryptCommand({ KeyId: arn, Plaintext: Buffer.from('x'), EncryptionContext }),
  );
  const opened = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
  expect(Buffer.from(opened.Plaintext ?? []).toString()).toBe('x');
  expect(await said(kms.send(new DecryptCommand({ CiphertextBlob })))).toBe('InvalidCiphertextException 400');
  const narrowed = await clients(
    policy({
      Action: 'kms:Decrypt',
      Resource: arn,
      Condition: { StringEquals: { 'kms:EncryptionContext:tenant': 'b' } },
    }),
  );
  const decrypt = new DecryptCommand({ CiphertextBlob, EncryptionContext });
  expect(await said(narrowed.kms.send(decrypt))).toBe('AccessDeniedException 400');
});

test.each(['object', 'bucket'] as const)(
  'S3 asks for the key of an encrypted bucket, under a context of the %s',
  async (context) => {
    const arn = aws.createKey();
    const Bucket = `sealed-${context}`;
    aws.putObject(Bucket, 'a', 'x');
    aws.encryptBucket(Bucket, arn, context);
    const named = `arn:aws:s3:::${Bucket}${context === 'object' ? '/a' : ''}`;
    const via = (service: string, name = named) => ({
      Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
      Resource: arn,
      Condition: {
        StringEquals: {
          'kms:ViaService': `${service}.eu-west-1.amazonaws.com`,
          'kms:EncryptionContext:aws:s3:arn': name,
        },
      },
    });
    const objects = { Action: ['s3:GetObject', 's3:PutObject'], Resource: `arn:aws:s3:::${Bucket}/*` };
    const get = async (session: object) =>
      said((await clients(session)).s3.send(new GetObjectCommand({ Bucket, Key: 'a' })));
    expect(await get(policy(objects))).toBe('AccessDenied 403');
    expect(await get(policy(objects, via('s3')))).toBe('ok');
    expect(await get(policy(objects, via('sqs')))).toBe('AccessDenied 403');
    expect(await get(policy(objects, via('s3', 'arn:aws:s3:::other')))).toBe('AccessDenied 403');
    const { s3, kms } = await clients(policy(objects, via('s3')));
    expect(await said(s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'y' })))).toBe('ok');
    const direct = new GenerateDataKeyCommand({ KeyId: arn, KeySpec: 'AES_256' });
    expect(await said(kms.send(direct))).toBe('AccessDeniedException 400');
  },
);

test('Secrets Manager asks for the key of an encrypted secret, under its ARN', async () => {
  const kmsKey = aws.createKey();
  const arn = aws.createSecret('sealed', 'x', { kmsKey });
  const value = { Action: 'secretsmanager:GetSecretValue', Resource: arn };
  const opens = (named: string) => ({
    Action: 'kms:Decrypt',
    Resource: kmsKey,
    Condition: { StringEquals: { 'kms:EncryptionContext:SecretARN': named } },
  });
  const get = async (session: object) =>
    said((await clients(session)).secrets.send(new GetSecretValueCommand({ SecretId: arn })));
  expect(await get(policy(value))).toBe('AccessDeniedException 400');
  expect(await get(policy(value, opens(arn)))).toBe('ok');
  expect(await get(policy(value, opens(`${arn}x`)))).toBe('AccessDeniedException 400');
});

test('what is too old, or not signed at all, is refused in the form of the service', async () => {
  const { sqs } = await clients(policy({ Action: '*', Resource: '*' }));
  const send = () => said(sqs.send(new ReceiveMessageCommand({ QueueUrl: QueueUrl() })));
  expect(await send()).toBe('ok');
  offsetMs += 3_700_000;
  expect(await send()).toBe('RequestTimeTooSkewed 403');
  offsetMs -= 3_700_000;
  const raw = await fetch(aws.url, {
    method: 'POST',
    headers: { 'x-amz-target': 'AmazonSQS.SendMessage', 'content-type': 'application/x-amz-json-1.0' },
    body: '{}',
  });
  expect(await raw.json()).toMatchObject({ __type: 'MissingAuthenticationToken' });
});
