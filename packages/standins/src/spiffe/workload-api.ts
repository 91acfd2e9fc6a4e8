import { randomBytes } from 'node:crypto';
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export interface WorkloadApi {
  /** As `SPIFFE_ENDPOINT_SOCKET` names it. */
  readonly address: string;
  readonly trustDomain: string;
  /** A JWT-SVID of a workload, as the agent would hand it out. */
  svid(request: SvidRequest): Promise<string>;
  /** The bundle in SPIFFE's own format, as a bundle endpoint publishes it: keys with `use`, an X.509 authority among them. */
  bundle(): unknown;
  /** The next SVIDs are signed by a new key; `forget` withdraws the old ones. */
  rotate(options?: { readonly forget?: boolean }): Promise<void>;
  /** Calls that were answered, by method. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export interface SvidRequest {
  readonly path: string;
  readonly audience: string;
  readonly lifetimeSeconds?: number;
}

export interface WorkloadApiOptions {
  readonly trustDomain: string;
  /** `unix:///path`, or an address such as 127.0.0.1:0. */
  readonly listen: string;
  /** The workload that calls FetchJWTSVID; null: no identity is registered for it. */
  readonly callerPath?: string | null;
}

interface Signer {
  readonly kid: string;
  readonly jwk: JWK;
  readonly privateKey: CryptoKey;
}

const descriptor = {
  nested: {
    JWTBundlesRequest: { fields: {} },
    JWTBundlesResponse: { fields: { bundles: { keyType: 'string', type: 'bytes', id: 1 } } },
    JWTSVIDRequest: {
      fields: { audience: { rule: 'repeated', type: 'string', id: 1 }, spiffe_id: { type: 'string', id: 2 } },
    },
    JWTSVID: {
      fields: {
        spiffe_id: { type: 'string', id: 1 },
        svid: { type: 'string', id: 2 },
        hint: { type: 'string', id: 3 },
      },
    },
    JWTSVIDResponse: { fields: { svids: { rule: 'repeated', type: 'JWTSVID', id: 1 } } },
    SpiffeWorkloadAPI: {
      methods: {
        FetchJWTSVID: { requestType: 'JWTSVIDRequest', responseType: 'JWTSVIDResponse', comment: '' },
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
const service = fromJSON(descriptor)['SpiffeWorkloadAPI'] as ServiceDefinition; // What proto-loader makes of a service.

/** A SPIRE agent as far as JWT-SVIDs go, with real gRPC on a socket. */
export async function startWorkloadApi(options: WorkloadApiOptions): Promise<WorkloadApi> {
  const signers = [await makeSigner()];
  const asked: string[] = [];
  const svid = (request: SvidRequest) => signSvid(request, options.trustDomain, signers);
  const server = new Server();
  server.addService(service, {
    FetchJWTBundles: (stream: ServerWritableStream<unknown, unknown>) => {
      if (!isGuarded(stream.metadata)) return void stream.emit('error', invalidArgument);
      asked.push('FetchJWTBundles');
      // SPIRE leaves `use` out of what it answers here.
      const keys = signers.map(({ jwk }) => jwk);
      stream.write({ bundles: { [options.trustDomain]: Buffer.from(JSON.stringify({ keys })) } });
    },
    FetchJWTSVID: (call: ServerUnaryCall<unknown, unknown>, answer: sendUnaryData<unknown>) => {
      if (!isGuarded(call.metadata)) return answer(invalidArgument);
      asked.push('FetchJWTSVID');
      void answerSvid(call.request, answer, { svid, options });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(options.listen, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: options.listen.startsWith('unix:') ? options.listen : `tcp://127.0.0.1:${port}`,
    trustDomain: options.trustDomain,
    svid,
    bundle: () => ({
      keys: [...signers.map(({ jwk }) => ({ ...jwk, use: 'jwt-svid' })), { kty: 'EC', use: 'x509-svid' }],
      spiffe_sequence: signers.length,
      spiffe_refresh_hint: 60,
    }),
    rotate: async ({ forget = false } = {}) => {
      if (forget) signers.length = 0;
      signers.unshift(await makeSigner());
    },
    asked,
    close: async () => server.forceShutdown(),
  };
}

const invalidArgument = { code: status.INVALID_ARGUMENT, details: 'security header missing from request' };

function isGuarded(metadata: Metadata): boolean {
  return metadata.get('workload.spiffe.io').includes('true');
}

async function answerSvid(
  request: unknown,
  answer: sendUnaryData<unknown>,
  { svid, options }: { svid: WorkloadApi['svid']; options: WorkloadApiOptions },
): Promise<void> {
  const { callerPath = '/caller', trustDomain } = options;
  if (callerPath === null) return answer({ code: status.PERMISSION_DENIED, details: 'no identity issued' });
  const audiences: unknown = Reflect.get(Object(request), 'audience');
  const audience = Array.isArray(audiences) ? String(audiences[0] ?? '') : '';
  if (audience === '')
    return answer({ code: status.INVALID_ARGUMENT, details: 'audience must be specified' });
  const token = await svid({ path: callerPath, audience });
  answer(null, { svids: [{ spiffe_id: `${trustDomain}${callerPath}`, svid: token, hint: 'first' }] });
}

async function makeSigner(): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const kid = randomBytes(8).toString('hex');
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid } };
}

function signSvid(
  { path, audience, lifetimeSeconds = 300 }: SvidRequest,
  trustDomain: string,
  [signer]: readonly Signer[],
): Promise<string> {
  if (signer === undefined) throw new RangeError('no signer');
  const iat = Math.floor(Date.now() / 1000);
  const payload = { sub: `${trustDomain}${path}`, aud: [audience], iat, exp: iat + lifetimeSeconds };
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'ES256', kid: signer.kid, typ: 'JWT' })
    .sign(signer.privateKey);
}
