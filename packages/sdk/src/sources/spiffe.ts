import { Misconfigured } from '../errors.ts';
import { type Environment, notSet, type Source, sourceFailed } from './source.ts';
import { decodeFirstSvid, encodeSvidRequest } from './svid-messages.ts';

const variable = 'SPIFFE_ENDPOINT_SOCKET';
const timeoutMs = 5_000;

/** A JWT-SVID of the agent beside this workload. gRPC is loaded only where the variable is set. */
export function ofSpiffe(env: Environment, audience: string): Source {
  const name = 'SPIFFE Workload API';
  return {
    name,
    kind: 'jwt',
    absent: () => (notSet(env[variable]) === undefined ? undefined : `${variable} not set`),
    read: async () => {
      const svid = decodeFirstSvid(await fetchSvid(name, env[variable] ?? '', audience));
      if (svid === undefined) throw sourceFailed(name, 'the answer holds no JWT-SVID');
      return svid;
    },
  };
}

async function fetchSvid(source: string, endpoint: string, audience: string): Promise<Uint8Array> {
  const grpc = await loadGrpc();
  const client = new grpc.Client(endpoint.replace(/^tcp:\/\//, ''), grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set('workload.spiffe.io', 'true');
  const raw = (bytes: Buffer) => bytes;
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        '/SpiffeWorkloadAPI/FetchJWTSVID',
        raw,
        raw,
        encodeSvidRequest(audience),
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          if (error !== null || answer === undefined)
            reject(sourceFailed(source, `the agent answered code ${error?.code ?? 'unknown'}`));
          else resolve(answer);
        },
      );
    });
  } finally {
    client.close();
  }
}

async function loadGrpc(): Promise<typeof import('@grpc/grpc-js')> {
  try {
    return await import('@grpc/grpc-js');
  } catch {
    throw new Misconfigured({
      reason: 'grpc_missing',
      says: `${variable} is set, and the package that speaks to it is not installed.`,
      todo: 'npm install @grpc/grpc-js, or unset the variable.',
    });
  }
}
