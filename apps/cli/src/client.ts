import {
  type Answer,
  type Asked,
  apiRequest,
  exchangeForm,
  MayflyError,
  Misconfigured,
  type SourceReport,
  Unavailable,
  type Wiring,
  wire,
} from '@mayfly/sdk';
import { type ExitCode, fail } from './exit.ts';
import { type Environment, loginSource, onlyServer } from './logins.ts';

/** How the CLI speaks to a broker: identity, transport and errors are those of the sdk, its ends are exit codes. */
export interface Client {
  readonly server: string;
  /** JSON of a /v1 route; refusals and absence end the command with their exit code. */
  api(method: string, path: string, options?: ApiOptions): Promise<Json>;
  /** `POST /token` for one detail, which may depend on what is presented as subject token. */
  exchange(detail: (kind: SubjectKind) => Json, asked: Asked, requestedTokenType?: string): Promise<Json>;
  /** Where an identity was looked for. */
  sources(): Promise<readonly SourceReport[]>;
}

export interface ApiOptions {
  readonly json?: unknown;
  readonly yaml?: string;
}

export type Json = Readonly<Record<string, unknown>>;
export type SubjectKind = 'jwt' | 'access_token';

/** Lists of thousands of rows; an agent's client stays with the sdk's own, smaller bound. */
const answerBytesMax = 64 * 1024 * 1024;

/**
 * The sdk with what only the CLI has: the login of this user, as the last source and as the server that is meant.
 * Without proofs of possession: a key would end with this process, and what is bound to it with it.
 */
export function connect(env: Environment = process.env, server?: string): Wiring {
  const stated = server ?? env['MAYFLY_SERVER'] ?? '';
  const meant = stated === '' ? onlyServer(env) : stated;
  const lastSource = (origin: string) => loginSource(env, origin);
  return orExit(() =>
    wire({
      env,
      proof: 'none',
      answerBytesMax,
      lastSource,
      ...(meant === undefined ? {} : { server: meant }),
    }),
  );
}

export function createClient(env: Environment = process.env): Client {
  const { connection, identity } = connect(env);
  const bodyOf = async (answer: Promise<Answer>) => (await answer.catch(end)).body;
  return {
    server: connection.server,
    sources: () => identity.sources(),
    api: (method, path, { json, yaml } = {}) => {
      const draft = async () => {
        const request = apiRequest(await identity.subject(), { method, path, json });
        if (yaml === undefined) return request;
        return {
          ...request,
          headers: { ...request.headers, 'content-type': 'application/yaml' },
          body: yaml,
        };
      };
      // Reading twice harms nobody; what changes something is sent again only where it has not arrived.
      return bodyOf(connection.call(draft, { retry: method === 'GET' ? 'repeatable' : 'unsent' }));
    },
    exchange: (detail, asked, requestedTokenType) => {
      const draft = async () => {
        const subject = await identity.subject();
        return exchangeForm(subject, detail(subject.kind), requestedTokenType);
      };
      return bodyOf(connection.call(draft, { retry: 'unsent', asked }));
    },
  };
}

function orExit<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    return end(error);
  }
}

/** 1 refused, 2 configuration, 3 could not find out. */
export function end(error: unknown): never {
  if (!(error instanceof MayflyError)) throw error;
  const code: ExitCode = error instanceof Misconfigured ? 2 : error instanceof Unavailable ? 3 : 1;
  return fail(code, error.message);
}
