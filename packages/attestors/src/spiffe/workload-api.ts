import type { Client, ServiceDefinition } from '@grpc/grpc-js';
import { JsonError, parseJsonStrict } from '@mayfly/protocol';
import { z } from 'zod';
import { type Fetched, unavailable } from '../jwt/fetch-json.ts';
import type { AttestorOptions } from '../options.ts';

/** The one call of the Workload API that is needed here (SPIFFE Workload API section 6.2.3). */
const descriptor = {
  nested: {
    JWTBundlesRequest: { fields: {} },
    JWTBundlesResponse: { fields: { bundles: { keyType: 'string', type: 'bytes', id: 1 } } },
    SpiffeWorkloadAPI: {
      methods: {
        FetchJWTBundles: {
          requestType: 'JWTBundlesRequest',
          responseType: 'JWTBundlesResponse',
          responseStream: true,
          comment: '',
        },
      },
    },
  },
};
const answered = z.object({ bundles: z.record(z.string(), z.instanceof(Uint8Array)) });
/** Bundles of all federated trust domains in one message. */
const messageBytesMax = 1_048_576;
const depthMax = 8;

/**
 * The JWT authorities of a trust domain, from the agent beside the broker. The stream is left after its first
 * answer: keys are asked for again when they are old, as everywhere. Throws Fault `issuer_unavailable`.
 */
export async function fetchJwtBundle(trustDomain: string, options: AttestorOptions): Promise<Fetched> {
  if (options.workloadApi === null) throw unavailable('no bundleFile, bundleUrl or SPIFFE_ENDPOINT_SOCKET');
  // Loaded where it is needed: few brokers speak gRPC.
  const [grpc, loader] = await Promise.all([import('@grpc/grpc-js'), import('@grpc/proto-loader')]);
  // What proto-loader makes of a service is a table of methods.
  const service = loader.fromJSON(descriptor)['SpiffeWorkloadAPI'] as ServiceDefinition;
  const client = new grpc.Client(addressOf(options.workloadApi), grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': messageBytesMax,
  });
  const metadata = new grpc.Metadata();
  // A proof against requests that a browser or a confused proxy was made to send (section 6.1).
  metadata.set('workload.spiffe.io', 'true');
  try {
    const answer = await firstAnswer(client, { service, metadata, timeoutMs: options.fetch.timeoutMs });
    return { body: bundleOf(answer, trustDomain, options.fetch.bodyBytesMax), maxAgeSeconds: 0 };
  } finally {
    client.close();
  }
}

/** `unix:///path` as it stands, `tcp://1.2.3.4:8081` without its scheme (SPIFFE Workload Endpoint section 4). */
function addressOf(endpoint: string): string {
  return endpoint.replace(/^tcp:\/\//, '');
}

interface Call {
  readonly service: ServiceDefinition;
  readonly metadata: import('@grpc/grpc-js').Metadata;
  readonly timeoutMs: number;
}

function firstAnswer(client: Client, { service, metadata, timeoutMs }: Call): Promise<unknown> {
  const method = service['FetchJWTBundles'];
  if (method === undefined) throw unavailable('Workload API has no such method');
  return new Promise((resolve, reject) => {
    const stream = client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      {},
      metadata,
      { deadline: Date.now() + timeoutMs },
    );
    stream.once('data', (answer: unknown) => {
      resolve(answer);
      stream.cancel();
    });
    stream.once('end', () => reject(unavailable('Workload API answered nothing')));
    // Also of our own cancel, when nobody waits any more.
    stream.on('error', (cause) => reject(unavailable(`Workload API: code ${codeOf(cause)}`, cause)));
  });
}

function codeOf(cause: unknown): string {
  return String(Reflect.get(Object(cause), 'code') ?? 'unknown');
}

function bundleOf(answer: unknown, trustDomain: string, bytesMax: number): unknown {
  const parsed = answered.safeParse(answer);
  const bytes = parsed.success ? parsed.data.bundles[trustDomain] : undefined;
  if (bytes === undefined) throw unavailable('Workload API knows no such trust domain');
  if (bytes.length > bytesMax) throw unavailable('body too large');
  try {
    return parseJsonStrict(new TextDecoder('utf-8', { fatal: true }).decode(bytes), { maxDepth: depthMax });
  } catch (cause) {
    throw unavailable(cause instanceof JsonError ? cause.message : 'bundle is not UTF-8', cause);
  }
}
