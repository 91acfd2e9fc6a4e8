import {
  type Answer,
  type Asked,
  apiRequest,
  exchangeForm,
  MayflyError,
  Misconfigured,
  type SourceReport,
  Unavailable,
  wire,
} from '@mayfly/sdk';
import { type ExitCode, fail } from './exit.ts';

/** How the CLI speaks to a broker: identity, transport and errors are those of the sdk, its ends are exit codes. */
export interface Client {
  readonly server: string;
  /** JSON of a /v1 route; refusals and absence end the command with their exit code. */
  api(method: string, path: string, options?: ApiOptions): Promise<Json>;
  /** `POST /token` for one detail, which may depend on what is presented as subject token. */
  exchange(detail: (kind: SubjectKind) => Json, asked: Asked): Promise<Json>;
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

export function createClient(env: Readonly<Record<string, string | undefined>> = process.env): Client {
  const { connection, identity } = orExit(() => wire({ env, answerBytesMax }));
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
    exchange: (detail, asked) => {
      const draft = async () => {
        const subject = await identity.subject();
        return exchangeForm(subject, detail(subject.kind));
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
function end(error: unknown): never {
  if (!(error instanceof MayflyError)) throw error;
  const code: ExitCode = error instanceof Misconfigured ? 2 : error instanceof Unavailable ? 3 : 1;
  return fail(code, error.message);
}
