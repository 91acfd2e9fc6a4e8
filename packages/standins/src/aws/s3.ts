import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { authorize as authorizeCaller, type Caller, may } from './authorize.ts';
import { AwsError, denied, escapeXml } from './errors.ts';
import type { Context } from './evaluate.ts';
import { useKey } from './kms.ts';
import type { StoredObject } from './state.ts';

export interface S3Call extends Caller {
  readonly request: IncomingMessage;
  readonly body: Buffer;
}

export interface S3Answer {
  readonly status: number;
  readonly body: Buffer | string;
  readonly headers: Readonly<Record<string, string>>;
  /** For the ledger. */
  readonly event: string;
  readonly bucket: string;
  readonly key: string;
}

const xml = { 'content-type': 'application/xml' };

/** The S3 REST operations that the access table needs, path style. */
export function serveS3(call: S3Call): S3Answer {
  const { bucket, key, query } = target(call.request);
  const method = call.request.method ?? 'GET';
  const done = (event: string, answer: Partial<S3Answer>): S3Answer => ({
    status: 200,
    body: '',
    headers: {},
    event,
    bucket,
    key,
    ...answer,
  });
  if (bucket === '') return done('ListBuckets', listBuckets(call));
  if (key === '' && method === 'PUT') return done('CreateBucket', createBucket(call, bucket));
  if (key === '' && method === 'GET') return done('ListObjects', listObjects(call, bucket, query));
  if (key === '' && method === 'HEAD') return done('HeadBucket', headBucket(call, bucket));
  if (key === '') throw new AwsError('MethodNotAllowed', 405);
  if (method === 'GET') return done('GetObject', getObject(call, bucket, key));
  if (method === 'HEAD') return done('HeadObject', { ...getObject(call, bucket, key), body: '' });
  if (method === 'PUT') return done('PutObject', putObject(call, bucket, key));
  if (method === 'DELETE') return done('DeleteObject', deleteObject(call, bucket, key));
  throw new AwsError('MethodNotAllowed', 405);
}

/** Bucket and key from the raw path: `%61` is `a`, but `/x/../a` stays what it is. */
export function target(request: IncomingMessage): { bucket: string; key: string; query: URLSearchParams } {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const path = (mark < 0 ? url : url.slice(0, mark)).slice(1);
  const slash = path.indexOf('/');
  const decode = (text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw new AwsError('InvalidURI', 400);
    }
  };
  return {
    bucket: decode(slash < 0 ? path : path.slice(0, slash)),
    key: slash < 0 ? '' : decode(path.slice(slash + 1)),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
  };
}

function getObject(call: S3Call, bucket: string, key: string): Partial<S3Answer> {
  authorize(call, 's3:GetObject', `${bucket}/${key}`);
  const object = bucketOf(call, bucket).get(key);
  if (object === undefined) throw missing(call, bucket);
  useBucketKey(call, 'kms:Decrypt', `${bucket}/${key}`);
  const { body, contentType, etag, modified } = object;
  const headers = {
    'content-type': contentType,
    etag,
    'last-modified': modified.toUTCString(),
    'content-length': String(body.length),
  };
  return { body, headers };
}

// Whether a key exists is told only to those who may list.
function missing(call: S3Call, bucket: string): AwsError {
  return may(call, { action: 's3:ListBucket', resource: `arn:aws:s3:::${bucket}` })
    ? new AwsError('NoSuchKey', 404)
    : denied('s3:ListBucket', bucket);
}

function putObject(call: S3Call, bucket: string, key: string): Partial<S3Answer> {
  const { request, body, now } = call;
  const ifNoneMatch = request.headers['if-none-match'];
  authorize(
    call,
    's3:PutObject',
    `${bucket}/${key}`,
    ifNoneMatch === undefined ? {} : { 's3:if-none-match': ifNoneMatch },
  );
  const objects = bucketOf(call, bucket);
  useBucketKey(call, 'kms:GenerateDataKey', `${bucket}/${key}`);
  if (ifNoneMatch === '*' && objects.has(key)) throw new AwsError('PreconditionFailed', 412);
  const content = decodeBody(request, body);
  const etag = `"${createHash('md5').update(content).digest('hex')}"`;
  const contentType = String(request.headers['content-type'] ?? 'application/octet-stream');
  objects.set(key, { body: content, contentType, etag, modified: now });
  return { headers: { etag } };
}

function deleteObject(call: S3Call, bucket: string, key: string): Partial<S3Answer> {
  authorize(call, 's3:DeleteObject', `${bucket}/${key}`);
  bucketOf(call, bucket).delete(key);
  return { status: 204 };
}

function listObjects(call: S3Call, bucket: string, query: URLSearchParams): Partial<S3Answer> {
  const prefix = query.get('prefix');
  const delimiter = query.get('delimiter');
  const maxKeys = query.get('max-keys');
  const stated: Context = {
    ...(prefix === null ? {} : { 's3:prefix': prefix }),
    ...(delimiter === null ? {} : { 's3:delimiter': delimiter }),
    ...(maxKeys === null ? {} : { 's3:max-keys': maxKeys }),
  };
  authorize(call, 's3:ListBucket', bucket, stated);
  const all = [...bucketOf(call, bucket)]
    .filter(([key]) => key.startsWith(prefix ?? ''))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const { contents, prefixes } = fold(all, prefix ?? '', delimiter);
  const shown = contents.slice(0, Number(maxKeys ?? '1000'));
  const rows = shown.map(
    ([key, { body, etag, modified }]) =>
      `<Contents><Key>${escapeXml(key)}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${escapeXml(etag)}</ETag><Size>${body.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  const common = prefixes.map((one) => `<CommonPrefixes><Prefix>${escapeXml(one)}</Prefix></CommonPrefixes>`);
  const head = `<Name>${escapeXml(bucket)}</Name><Prefix>${escapeXml(prefix ?? '')}</Prefix><KeyCount>${shown.length}</KeyCount><MaxKeys>${escapeXml(maxKeys ?? '1000')}</MaxKeys><IsTruncated>${shown.length < contents.length}</IsTruncated>`;
  const space = 'http://s3.amazonaws.com/doc/2006-03-01/';
  return {
    headers: xml,
    body: `<ListBucketResult xmlns="${space}">${head}${rows.join('')}${common.join('')}</ListBucketResult>`,
  };
}

function fold(all: readonly [string, StoredObject][], prefix: string, delimiter: string | null) {
  if (delimiter === null || delimiter === '') return { contents: all, prefixes: [] };
  const cut = (key: string) => {
    const at = key.indexOf(delimiter, prefix.length);
    return at < 0 ? undefined : key.slice(0, at + delimiter.length);
  };
  const prefixes = [...new Set(all.map(([key]) => cut(key)).filter((one) => one !== undefined))];
  return { contents: all.filter(([key]) => cut(key) === undefined), prefixes };
}

function createBucket(call: S3Call, bucket: string): Partial<S3Answer> {
  authorize(call, 's3:CreateBucket', bucket);
  if (!call.state.buckets.has(bucket)) call.state.buckets.set(bucket, new Map());
  return { headers: { location: `/${bucket}` } };
}

function headBucket(call: S3Call, bucket: string): Partial<S3Answer> {
  authorize(call, 's3:ListBucket', bucket);
  bucketOf(call, bucket);
  return {};
}

function listBuckets(call: S3Call): Partial<S3Answer> {
  authorizeCaller(call, { action: 's3:ListAllMyBuckets', resource: '*' });
  const rows = [...call.state.buckets.keys()].map(
    (name) => `<Bucket><Name>${escapeXml(name)}</Name></Bucket>`,
  );
  return {
    headers: xml,
    body: `<ListAllMyBucketsResult><Buckets>${rows.join('')}</Buckets></ListAllMyBucketsResult>`,
  };
}

function bucketOf({ state }: S3Call, bucket: string): Map<string, StoredObject> {
  const found = state.buckets.get(bucket);
  if (found === undefined) throw new AwsError('NoSuchBucket', 404);
  return found;
}

function authorize(call: S3Call, action: string, path: string, context: Context = {}): void {
  authorizeCaller(call, { action, resource: `arn:aws:s3:::${path}`, context });
}

/** Where the bucket is encrypted, its key has to open too: S3 asks for its caller, under the context of the data. */
function useBucketKey(call: S3Call, action: 'kms:Decrypt' | 'kms:GenerateDataKey', path: string): void {
  const bucket = path.slice(0, path.indexOf('/'));
  const encryption = call.state.encryption.get(bucket);
  if (encryption === undefined) return;
  const named = `arn:aws:s3:::${encryption.context === 'bucket' ? bucket : path}`;
  useKey(call, { key: encryption.kmsKey, action, via: 's3', context: { 'aws:s3:arn': named } });
}

/** SDK v3 streams over plain http as aws-chunked with a trailer; the chunks are taken apart here. */
function decodeBody(request: IncomingMessage, body: Buffer): Buffer {
  const chunked = String(request.headers['content-encoding'] ?? '').includes('aws-chunked');
  if (!chunked && !String(request.headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-'))
    return body;
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = body.indexOf('\r\n', at);
    if (end < 0) throw new AwsError('IncompleteBody', 400);
    const size = Number.parseInt(body.toString('latin1', at, end).split(';')[0] ?? '', 16);
    if (Number.isNaN(size)) throw new AwsError('IncompleteBody', 400);
    if (size === 0) return Buffer.concat(parts);
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}
