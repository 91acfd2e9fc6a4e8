import { type Clock, systemClock } from './clock.ts';
import { Connection } from './connection.ts';
import { Misconfigured } from './errors.ts';
import { createIdentity, type Environment, type Identity, type IdentitySource } from './identity.ts';
import { createProofKey, type ProofKey } from './proof.ts';
import { defaultServer, parseServer } from './server-address.ts';
import { createTransport, type Transport } from './transport.ts';

export interface MayflyOptions {
  /** The broker's origin; default MAYFLY_SERVER, then http://127.0.0.1:8080. Plain http only on loopback. */
  readonly server?: string;
  /** Gives a fresh assertion each time; comes before the sources of the environment. */
  readonly assertion?: () => string | Promise<string>;
  /** PEM file trusted instead of Node's own authorities; default MAYFLY_CA_FILE. */
  readonly caFile?: string;
  /**
   * `dpop`: a key of this process is proven with each request (RFC 9449), and tasks, task tokens and tool tokens are
   * bound to it; default MAYFLY_PROOF, then none. Tool servers must then take `task.headers()`.
   */
  readonly proof?: 'none' | 'dpop';
  /** Default process.env; read at each use. */
  readonly env?: Environment;
  /** Carries requests instead of node:http(s). */
  readonly transport?: Transport;
  readonly clock?: Clock;
  /** Asked after all sources of the environment. */
  readonly lastSource?: (server: string) => IdentitySource;
  /** Largest answer that is read, in bytes. */
  readonly answerBytesMax?: number;
}

export interface Wiring {
  readonly env: Environment;
  readonly clock: Clock;
  readonly identity: Identity;
  readonly connection: Connection;
  readonly proofKey: ProofKey | undefined;
}

/** The parts beneath Mayfly, for programs that speak to other routes (the CLI). Throws Misconfigured. */
export function wire(options: MayflyOptions = {}): Wiring {
  const { env = process.env, clock = systemClock, assertion, answerBytesMax } = options;
  const caFile = options.caFile ?? stated(env['MAYFLY_CA_FILE']);
  const server = parseServer(options.server ?? stated(env['MAYFLY_SERVER']) ?? defaultServer);
  const limits = answerBytesMax === undefined ? {} : { answerBytesMax };
  const transport = options.transport ?? createTransport({ caFile, ...limits });
  const proofKey = proofOf(options.proof ?? stated(env['MAYFLY_PROOF']));
  return {
    env,
    clock,
    identity: createIdentity({
      assertion,
      env,
      audience: server.origin,
      lastSource: options.lastSource?.(server.origin),
    }),
    connection: new Connection({ server, transport, clock, proofKey }),
    proofKey,
  };
}

function proofOf(proof: string | undefined): ProofKey | undefined {
  if (proof === undefined || proof === 'none') return undefined;
  if (proof === 'dpop') return createProofKey();
  throw new Misconfigured({ reason: 'proof_unknown', says: 'MAYFLY_PROOF is neither none nor dpop.' });
}

function stated(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
