import { authorizeAccount, authorizeToken } from './authorize.ts';
import type { Access } from './boundary.ts';
import { checksums } from './checksums.ts';
import { GcpError } from './errors.ts';
import type { Call, Reply } from './server.ts';
import { verifySignedRequest } from './signed-request.ts';
import type { StoredObject } from './state.ts';

interface Place {
  readonly bucket: string;
  readonly object: string;
}
/** Throws unless the caller may. */
type Authorize = (access: Access) => void;

const onObject = (permission: string, { bucket, object }: Place): Access => ({
  permission,
  bucket,
  name: `projects/_/buckets/${bucket}/objects/${object}`,
  listPrefix: undefined,
});

/** XML API: a signed URL, or a bearer. */
export function serveXml(call: Call, place: Place): Reply {
  call.trace.resource = `gs://${place.bucket}/${place.object}`;
  const signed = call.url.searchParams.has('X-Goog-Signature');
  const account = signed ? verifySignedRequest(call) : undefined;
  const authorize: Authorize = (access) =>
    account === undefined ? authorizeToken(call, access) : authorizeAccount(account, access);
  const { method, headers } = call.request;
  if (method === 'GET') return media(read(call, place, authorize));
  if (method === 'PUT') {
    const type = String(headers['content-type'] ?? 'application/octet-stream');
    const condition = headers['x-goog-if-generation-match'];
    write(call, { place, authorize, body: call.body, type, onlyIf: condition?.toString() });
    return { status: 200, type: 'text/plain', body: Buffer.alloc(0) };
  }
  if (method === 'DELETE') return remove(call, place, authorize);
  throw new GcpError(403, 'SignatureDoesNotMatch');
}

/** JSON API of one object. */
export function serveObject(call: Call, place: Place): Reply {
  call.trace.resource = `gs://${place.bucket}/${place.object}`;
  const authorize: Authorize = (access) => authorizeToken(call, access);
  if (call.request.method === 'DELETE') return remove(call, place, authorize);
  const found = read(call, place, authorize);
  return call.url.searchParams.get('alt') === 'media' ? media(found) : json(described(place, found));
}

export function serveList(call: Call, bucket: string): Reply {
  const prefix = call.url.searchParams.get('prefix') ?? '';
  call.trace.resource = `gs://${bucket}/${prefix}`;
  const name = `projects/_/buckets/${bucket}`;
  authorizeToken(call, { permission: 'storage.objects.list', bucket, name, listPrefix: prefix });
  const items = [...(call.state.buckets.get(bucket) ?? [])]
    .filter(([object]) => object.startsWith(prefix))
    .map(([object, one]) => described({ bucket, object }, one));
  return json({ kind: 'storage#objects', items });
}

/** JSON API upload: `media` and `multipart`; resumable sessions are not offered. */
export function serveUpload(call: Call, bucket: string): Reply {
  const { searchParams } = call.url;
  const part = searchParams.get('uploadType') === 'multipart' ? multipart(call) : undefined;
  const object = searchParams.get('name') ?? part?.name ?? '';
  call.trace.resource = `gs://${bucket}/${object}`;
  const type = part?.type ?? String(call.request.headers['content-type'] ?? 'application/octet-stream');
  const written = write(call, {
    place: { bucket, object },
    authorize: (access) => authorizeToken(call, access),
    body: part?.body ?? call.body,
    type,
    onlyIf: searchParams.get('ifGenerationMatch') ?? undefined,
  });
  return json(described({ bucket, object }, written));
}

function read({ state }: Call, place: Place, authorize: Authorize): StoredObject {
  authorize(onObject('storage.objects.get', place));
  const found = state.buckets.get(place.bucket)?.get(place.object);
  if (found === undefined) throw new GcpError(404, 'NOT_FOUND', `no object ${place.object}`);
  return found;
}

interface Writing {
  readonly place: Place;
  readonly authorize: Authorize;
  readonly body: Buffer;
  readonly type: string;
  readonly onlyIf: string | undefined;
}

/** As Google does: to overwrite takes the permission to delete. */
function write({ state, now }: Call, { place, authorize, body, type, onlyIf }: Writing): StoredObject {
  authorize(onObject('storage.objects.create', place));
  const objects = state.buckets.get(place.bucket) ?? new Map<string, StoredObject>();
  const existing = objects.get(place.object);
  if (onlyIf !== undefined && onlyIf !== String(existing?.generation ?? 0))
    throw new GcpError(412, 'PreconditionFailed');
  if (existing !== undefined) authorize(onObject('storage.objects.delete', place));
  const written = { body, contentType: type, generation: (existing?.generation ?? 0) + 1, updated: now };
  objects.set(place.object, written);
  state.buckets.set(place.bucket, objects);
  return written;
}

function remove({ state }: Call, place: Place, authorize: Authorize): Reply {
  authorize(onObject('storage.objects.delete', place));
  if (!state.buckets.get(place.bucket)?.delete(place.object)) throw new GcpError(404, 'NOT_FOUND');
  return { status: 204, type: 'text/plain', body: Buffer.alloc(0) };
}

function media({ body, contentType, generation }: StoredObject): Reply {
  const { md5, crc32c } = checksums(body);
  const headers = { 'x-goog-hash': `crc32c=${crc32c},md5=${md5}`, 'x-goog-generation': String(generation) };
  return { status: 200, type: contentType, body, headers };
}

function described({ bucket, object }: Place, { body, contentType, generation, updated }: StoredObject) {
  const { md5, crc32c } = checksums(body);
  return {
    kind: 'storage#object',
    id: `${bucket}/${object}/${generation}`,
    name: object,
    bucket,
    contentType,
    size: String(body.length),
    generation: String(generation),
    metageneration: '1',
    updated: updated.toISOString(),
    md5Hash: md5,
    crc32c,
  };
}

/** The two parts of a multipart upload: a name in JSON, and the bytes. */
function multipart({ request, body }: Call): { name: string; type: string; body: Buffer } {
  const [, boundary = ''] = /boundary="?([^";]+)/.exec(request.headers['content-type'] ?? '') ?? [];
  const [, first = '', second = ''] = body.toString('latin1').split(`--${boundary}`);
  const [head = '', ...bytes] = second.replace(/^\r\n/, '').replace(/\r\n$/, '').split('\r\n\r\n');
  const [, metadata = '{}'] = first.split('\r\n\r\n');
  const type = /content-type: *([^\r\n]+)/i.exec(head)?.[1] ?? 'application/octet-stream';
  const name: unknown = Reflect.get(Object(JSON.parse(metadata)), 'name');
  return { name: String(name ?? ''), type, body: Buffer.from(bytes.join('\r\n\r\n'), 'latin1') };
}

function json(value: unknown): Reply {
  return { status: 200, type: 'application/json', body: Buffer.from(JSON.stringify(value)) };
}
