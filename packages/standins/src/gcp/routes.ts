import type { IncomingMessage } from 'node:http';
import { GcpError } from './errors.ts';
import { generateAccessToken, signBlob } from './iam-credentials.ts';
import { serveTopic } from './pubsub.ts';
import type { Call, Reply } from './server.ts';
import { serveList, serveObject, serveUpload, serveXml } from './storage.ts';
import { exchange } from './sts.ts';

const account = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):([A-Za-z]+)$/;
const jsonObject = /^\/storage\/v1\/b\/([^/]+)\/o(?:\/([^/]+))?$/;
const upload = /^\/upload\/storage\/v1\/b\/([^/]+)\/o$/;
const topic = /^\/v1\/(projects\/[^/:]+\/topics\/[^/:]+)(?::([a-z]+))?$/;
const xmlObject = /^\/([^/]+)\/(.+)$/;

/** Name of the call, for faults and the ledger. */
export function describe({ method }: IncomingMessage, url: URL, body: Buffer): string {
  if (url.pathname === '/v1/token')
    return new URLSearchParams(body.toString('utf8')).has('options') ? 'DownscopeToken' : 'ExchangeToken';
  const path = decoded(url.pathname);
  const named = account.exec(path)?.[2];
  if (named !== undefined) return `${named.charAt(0).toUpperCase()}${named.slice(1)}`;
  if (upload.test(url.pathname)) return 'PutObject';
  const onTopic = topic.exec(url.pathname);
  if (onTopic !== null) return onTopic[2] === 'publish' ? 'Publish' : 'GetTopic';
  const json = jsonObject.exec(url.pathname);
  if (json === null) return `Xml${method}`;
  if (json[2] === undefined) return 'ListObjects';
  return method === 'DELETE' ? 'DeleteObject' : 'GetObject';
}

export async function dispatch(call: Call): Promise<Reply> {
  const { pathname } = call.url;
  const { method } = call.request;
  if (pathname === '/v1/token' && method === 'POST') return json(await exchange(call));
  const [, email, operation] = account.exec(decoded(pathname)) ?? [];
  if (email !== undefined && method === 'POST') {
    if (operation === 'generateAccessToken') return json(generateAccessToken(call, email));
    if (operation === 'signBlob') return json(signBlob(call, email));
  }
  const [, named, asked] = topic.exec(pathname) ?? [];
  if (named !== undefined) return json(serveTopic(call, named, asked));
  const uploaded = upload.exec(pathname)?.[1];
  if (uploaded !== undefined && method === 'POST') return serveUpload(call, decoded(uploaded));
  const [, bucket, object] = jsonObject.exec(pathname) ?? [];
  if (bucket !== undefined)
    return object === undefined
      ? serveList(call, decoded(bucket))
      : serveObject(call, { bucket: decoded(bucket), object: decoded(object) });
  const [, of, rest] = xmlObject.exec(pathname) ?? [];
  if (of !== undefined && rest !== undefined)
    return serveXml(call, { bucket: decoded(of), object: decoded(rest) });
  throw new GcpError(404, 'NOT_FOUND');
}

function json(value: unknown): Reply {
  return { status: 200, type: 'application/json', body: Buffer.from(JSON.stringify(value)) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new GcpError(400, 'INVALID_ARGUMENT');
  }
}
