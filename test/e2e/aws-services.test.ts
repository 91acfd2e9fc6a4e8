import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import {
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { GenerateDataKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  BatchGetSecretValueCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import {
  DeleteMessageCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { form, startWorld, type World } from './world.ts';

let world: World;
const account = '123456789012';
const of = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:${account}:${rest}`;

beforeAll(async () => {
  world = await startWorld();
}, 60_000);
afterAll(() => world.stop());

const opened = { task: { template: 'order-desk', params: { customer: 'c1017' }, objective: 'test' } };

/** One exchange in a task of its own. */
async function exchange(tool: string, identifier: string, ref: string) {
  const detail = { tool, identifier, task: { ...opened.task, ref } };
  return world.exchange(form(await world.workload('batch/order-desk'), detail));
}

interface Options {
  readonly endpoint: string;
  readonly region: string;
  readonly maxAttempts: number;
  readonly credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

async function credentialFor(tool: string, identifier: string, ref: string) {
  const { status, body } = await exchange(tool, identifier, ref);
  expect([status, body.error_description]).toEqual([200, undefined]);
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(body.access_token);
  const credentials = {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  };
  const options: Options = { endpoint: world.file.aws, region: 'eu-west-1', maxAttempts: 1, credentials };
  return { body, options };
}

const root = (): Options => ({
  endpoint: world.file.aws,
  region: 'eu-west-1',
  maxAttempts: 1,
  credentials: world.clouds.aws.root,
});

/** `ok`, or the name of the error that the unmodified SDK has made of the answer. */
async function said(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'ok',
    (error: unknown) => String(Reflect.get(Object(error), 'name')),
  );
}
const denied = 'AccessDeniedException';

test('a secret: its current value, no other version, no other secret, no write', async () => {
  const secret = of('secretsmanager', 'secret:desk/mail-Ab12Cd');
  const { options } = await credentialFor('mail.password', secret, 'secret');
  const client = new SecretsManagerClient(options);
  const before = await client.send(new GetSecretValueCommand({ SecretId: secret }));
  expect(before.SecretString).toBe('correct horse');
  await new SecretsManagerClient(root()).send(
    new PutSecretValueCommand({ SecretId: secret, SecretString: 'rotated' }),
  );
  const get = (more: object) => client.send(new GetSecretValueCommand({ SecretId: secret, ...more }));
  expect((await get({ VersionStage: 'AWSCURRENT' })).SecretString).toBe('rotated');
  expect(await said(get({ VersionStage: 'AWSPREVIOUS' }))).toBe(denied);
  expect(await said(get({ VersionId: before.VersionId }))).toBe(denied);
  expect(await said(get({ VersionId: before.VersionId, VersionStage: 'AWSCURRENT' }))).toBe(denied);
  expect(await said(get({ SecretId: 'desk/payroll' }))).toBe(denied);
  expect(await said(client.send(new BatchGetSecretValueCommand({ SecretIdList: [secret] })))).toBe(denied);
  const put = new PutSecretValueCommand({ SecretId: secret, SecretString: 'x' });
  expect(await said(client.send(put))).toBe(denied);
});

const key = (customer: string) => ({ customer: { S: customer }, order: { N: '1' } });
const change = (TableName: string, customer: string, more: object = {}) =>
  new UpdateItemCommand({
    TableName,
    Key: key(customer),
    UpdateExpression: 'SET total = :t',
    ExpressionAttributeValues: { ':t': { N: '7' } },
    ...more,
  });

test('items: those of one partition key, by key or query; no scan, no neighbour, no delete, no other table', async () => {
  const TableName = 'orders';
  const identifier = of('dynamodb', 'table/orders/items/c1017');
  const { options } = await credentialFor('orders.edit', identifier, 'items');
  const client = new DynamoDBClient(options);
  const put = (customer: string) => new PutItemCommand({ TableName, Item: key(customer) });
  expect(await said(client.send(put('c1017')))).toBe('ok');
  expect((await client.send(new GetItemCommand({ TableName, Key: key('c1017') }))).Item).toEqual(
    key('c1017'),
  );
  const query = (customer: string) =>
    new QueryCommand({
      TableName,
      KeyConditionExpression: 'customer = :c',
      ExpressionAttributeValues: { ':c': { S: customer } },
    });
  expect((await client.send(query('c1017'))).Count).toBe(1);
  expect(await said(client.send(change(TableName, 'c1017', { ReturnValues: 'ALL_NEW' })))).toBe('ok');
  expect(await said(client.send(put('c101')))).toBe(denied);
  expect(await said(client.send(query('c2034')))).toBe(denied);
  expect(await said(client.send(new ScanCommand({ TableName })))).toBe(denied);
  expect(await said(client.send(new DeleteItemCommand({ TableName, Key: key('c1017') })))).toBe(denied);
  expect(await said(client.send(change('order-log', 'c1017')))).toBe(denied);
});

test('items that may only be changed are not read by what a change answers', async () => {
  const identifier = of('dynamodb', 'table/order-log/items/c1017');
  const { options } = await credentialFor('orders.log', identifier, 'log');
  const client = new DynamoDBClient(options);
  expect(await said(client.send(change('order-log', 'c1017')))).toBe('ok');
  expect(await said(client.send(change('order-log', 'c1017', { ReturnValues: 'ALL_OLD' })))).toBe(denied);
  expect(await said(client.send(change('order-log', 'c1017', { ReturnValues: 'NONE' })))).toBe('ok');
  expect(await said(client.send(new GetItemCommand({ TableName: 'order-log', Key: key('c1017') })))).toBe(
    denied,
  );
});

const url = (queue: string) => `${world.file.aws}/${account}/${queue}`;

test('a queue: who sends cannot receive, who receives can delete and not purge', async () => {
  const sender = await credentialFor('answer.send', of('sqs', 'answers'), 'send');
  const send = (sqs: SQSClient, queue: string) =>
    said(sqs.send(new SendMessageCommand({ QueueUrl: url(queue), MessageBody: 'hello' })));
  const sending = new SQSClient(sender.options);
  expect([await send(sending, 'answers'), await send(sending, 'questions')]).toEqual(['ok', denied]);
  expect(await said(sending.send(new ReceiveMessageCommand({ QueueUrl: url('answers') })))).toBe(denied);
  await send(new SQSClient(root()), 'questions');
  const receiver = await credentialFor('question.take', of('sqs', 'questions'), 'receive');
  const receiving = new SQSClient(receiver.options);
  const QueueUrl = url('questions');
  const { Messages = [] } = await receiving.send(new ReceiveMessageCommand({ QueueUrl }));
  expect(Messages.map(({ Body }) => Body)).toEqual(['hello']);
  const ReceiptHandle = Messages[0]?.ReceiptHandle;
  expect(await said(receiving.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle })))).toBe('ok');
  expect(await said(receiving.send(new PurgeQueueCommand({ QueueUrl })))).toBe(denied);
  expect(await send(receiving, 'questions')).toBe(denied);
});

test('a function: one alias, and neither the other nor what is unpublished', async () => {
  const { options } = await credentialFor('quote.make', of('lambda', 'function:quote:prod'), 'function');
  const client = new LambdaClient(options);
  const invoke = (Qualifier?: string) =>
    client.send(new InvokeCommand({ FunctionName: 'quote', ...(Qualifier ? { Qualifier } : {}) }));
  expect((await invoke('prod')).Payload?.transformToString()).toBe('{"quote":"prod"}');
  expect([await said(invoke('test')), await said(invoke('$LATEST')), await said(invoke())]).toEqual([
    denied,
    denied,
    denied,
  ]);
});

test('a prefix of an encrypted bucket: through S3, and the key opens nothing else', async () => {
  const { options, body } = await credentialFor('contracts.read', 'arn:aws:s3:::contracts/c1017/', 'prefix');
  const s3 = new S3Client({ ...options, forcePathStyle: true });
  const Bucket = 'contracts';
  const get = (Key: string) => said(s3.send(new GetObjectCommand({ Bucket, Key })));
  const list = (more: object) => said(s3.send(new ListObjectsV2Command({ Bucket, ...more })));
  expect([await get('c1017/2026.pdf'), await get('c2034/2026.pdf')]).toEqual(['ok', 'AccessDenied']);
  expect([await list({ Prefix: 'c1017/' }), await list({ Prefix: 'c1017' }), await list({})]).toEqual([
    'ok',
    'AccessDenied',
    'AccessDenied',
  ]);
  const put = new PutObjectCommand({ Bucket, Key: 'c1017/new.pdf', Body: 'x' });
  expect(await said(s3.send(put))).toBe('AccessDenied');
  const KeyId = of('kms', 'key/0a1b2c3d-4e5f-4a6b-8c7d-123456789abc');
  const direct = new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' });
  expect(await said(new KMSClient(options).send(direct))).toBe(denied);
  // The end of the task takes it back, with unexpired keys.
  await world.api('POST', `/v1/tasks/${body.issuance.task}/end`, { bearer: body.task_token });
  expect(await until(() => get('c1017/2026.pdf'), 'AccessDenied')).toBe('AccessDenied');
});

test('an object of an encrypted bucket is made once, and never written over', async () => {
  const Key = 'c1017/2027.pdf';
  const { options } = await credentialFor('contracts.file', `arn:aws:s3:::contracts/${Key}`, 'create');
  const s3 = new S3Client({ ...options, forcePathStyle: true });
  const put = (key: string, more: object = {}) =>
    said(s3.send(new PutObjectCommand({ Bucket: 'contracts', Key: key, Body: 'x', ...more })));
  expect(await put(Key)).toBe('AccessDenied');
  expect(await put(Key, { IfNoneMatch: '*' })).toBe('ok');
  expect(await put(Key, { IfNoneMatch: '*' })).toBe('PreconditionFailed');
  expect(await put('c1017/2028.pdf', { IfNoneMatch: '*' })).toBe('AccessDenied');
});

type Use = (options: Options) => Promise<unknown>;

test.each<[string, string, Use]>([
  [
    'mail.password',
    of('secretsmanager', 'secret:desk/mail-Ab12Cd'),
    (options) => new SecretsManagerClient(options).send(new GetSecretValueCommand({ SecretId: 'desk/mail' })),
  ],
  [
    'orders.edit',
    of('dynamodb', 'table/orders/items/c1017'),
    (options) =>
      new DynamoDBClient(options).send(new GetItemCommand({ TableName: 'orders', Key: key('c1017') })),
  ],
  [
    'answer.send',
    of('sqs', 'answers'),
    (options) =>
      new SQSClient(options).send(new SendMessageCommand({ QueueUrl: url('answers'), MessageBody: 'x' })),
  ],
  [
    'quote.make',
    of('lambda', 'function:quote:prod'),
    (options) =>
      new LambdaClient(options).send(new InvokeCommand({ FunctionName: 'quote', Qualifier: 'prod' })),
  ],
  [
    'contracts.file',
    'arn:aws:s3:::contracts/c1017/after.pdf',
    (options) =>
      new S3Client({ ...options, forcePathStyle: true }).send(
        new PutObjectCommand({
          ...{ Bucket: 'contracts', Key: 'c1017/after.pdf', Body: 'x', IfNoneMatch: '*' },
        }),
      ),
  ],
])(
  'the end of its task takes %s back, with unexpired keys, and no other task’s',
  async (tool, thing, use) => {
    const [ended, other] = [
      await credentialFor(tool, thing, `ended-${tool}`),
      await credentialFor(tool, thing, `other-${tool}`),
    ];
    // The object is there by then, which is told only to who may make it.
    const allowed = ['ok', 'PreconditionFailed'];
    expect(await said(use(ended.options))).toBe('ok');
    expect(allowed).toContain(await said(use(other.options)));
    const { task } = ended.body.issuance;
    await world.api('POST', `/v1/tasks/${task}/end`, { bearer: ended.body.task_token });
    const refused = thing.includes(':s3:') ? 'AccessDenied' : denied;
    expect(await until(() => said(use(ended.options)), refused)).toBe(refused);
    expect(Date.parse(ended.body.issuance.expires_at)).toBeGreaterThan(Date.now());
    expect(allowed).toContain(await said(use(other.options)));
  },
);

test.each([
  ['mail.password', of('secretsmanager', 'secret:desk/payroll-Ef34Gh'), 'resource_outside_grant'],
  ['mail.password', of('secretsmanager', 'secret:desk/mail'), 'resource_outside_grant'],
  ['orders.edit', of('dynamodb', 'table/orders/items/c2034'), 'resource_outside_grant'],
  ['orders.edit', of('dynamodb', 'table/orders'), 'resource_outside_grant'],
  ['answer.send', of('sqs', 'questions'), 'resource_outside_grant'],
  ['quote.make', of('lambda', 'function:quote'), 'resource_outside_grant'],
  ['quote.make', of('lambda', 'function:quote:test'), 'resource_outside_grant'],
])('the broker itself refuses %s on %s', async (tool, identifier, reason) => {
  const { status, body } = await exchange(tool, identifier, `outside-${tool}-${identifier.length}`);
  expect([status, body.reason]).toEqual([400, reason]);
});

test('boto3 does the same with the same credentials, where it is installed', async () => {
  const run = async (script: string, env: NodeJS.ProcessEnv = {}) => {
    const options = { env: { ...process.env, ...env, AWS_EC2_METADATA_DISABLED: 'true' } };
    return promisify(execFile)('python3', ['-c', script], options).then(
      ({ stdout }) => stdout,
      (error: unknown) => String(error),
    );
  };
  if ((await run('import boto3; print("yes")')).trim() !== 'yes')
    return console.log('skipped: boto3 is not installed');
  const keysOf = async (tool: string, identifier: string) => {
    const { options } = await credentialFor(tool, identifier, `boto3-${tool}`);
    const { accessKeyId, secretAccessKey, sessionToken } = options.credentials;
    return {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
      AWS_DEFAULT_REGION: 'eu-west-1',
      AWS_ENDPOINT_URL: world.file.aws,
    };
  };
  const script = (body: string) => `import boto3
def said(run):
    try: run(); return 'ok'
    except Exception as e: return e.response['Error']['Code']
${body}`;
  const secret = script(`c=boto3.client('secretsmanager')
print(said(lambda: c.get_secret_value(SecretId='desk/mail')), said(lambda: c.get_secret_value(SecretId='desk/payroll')))`);
  const items = script(`c=boto3.client('dynamodb')
k=lambda v: {'customer':{'S':v},'order':{'N':'1'}}
print(said(lambda: c.get_item(TableName='orders',Key=k('c1017'))), said(lambda: c.get_item(TableName='orders',Key=k('c2034'))), said(lambda: c.scan(TableName='orders')))`);
  const queue = script(`c=boto3.client('sqs')
u='${url('answers')}'
print(said(lambda: c.send_message(QueueUrl=u,MessageBody='x')), said(lambda: c.receive_message(QueueUrl=u)))`);
  const lambda = script(`c=boto3.client('lambda')
print(said(lambda: c.invoke(FunctionName='quote',Qualifier='prod')), said(lambda: c.invoke(FunctionName='quote',Qualifier='test')))`);
  const mail = of('secretsmanager', 'secret:desk/mail-Ab12Cd');
  expect(await run(secret, await keysOf('mail.password', mail))).toBe(`ok ${denied}\n`);
  const orders = of('dynamodb', 'table/orders/items/c1017');
  expect(await run(items, await keysOf('orders.edit', orders))).toBe(`ok ${denied} ${denied}\n`);
  expect(await run(queue, await keysOf('answer.send', of('sqs', 'answers')))).toBe(`ok ${denied}\n`);
  const quote = of('lambda', 'function:quote:prod');
  expect(await run(lambda, await keysOf('quote.make', quote))).toBe(`ok ${denied}\n`);
  return undefined;
}, 60_000);

async function until(read: () => Promise<string>, wanted: string): Promise<string> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = await read();
    if (value === wanted || Date.now() > deadline) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
