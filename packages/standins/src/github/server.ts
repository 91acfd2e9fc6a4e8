import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { Faults } from '../aws/faults.ts';
import { answerJson, bearerOf, type JsonAnswer, type Lie, member, readJson } from '../json-api.ts';

type Level = 'read' | 'write';

export interface InstallationSeed {
  readonly appId: string;
  readonly installationId: string;
  readonly owner: string;
  /** What the App was given; a token has no more. */
  readonly permissions: Readonly<Record<string, Level>>;
  /** Left out: the named repositories only. */
  readonly selection?: 'all' | 'selected';
  /** Names of the private repositories that the App was installed on. */
  readonly repositories: readonly string[];
}

/** One line of the organization's audit log, with the hash of the token as GitHub has it (base64 of SHA-256). */
export interface GithubRecord {
  readonly at: string;
  readonly action: string;
  readonly installationId: string | null;
  readonly hashedToken: string | null;
  readonly repository: string | null;
  readonly status: number;
}

export interface GithubStandin {
  /** Base URL of the REST API. */
  readonly url: string;
  /** PEM (PKCS#1, as GitHub hands it out) of the App's private key. */
  createInstallation(seed: InstallationSeed): string;
  /** All its tokens are refused from now on. */
  suspend(installationId: string): void;
  /** Lets them in again. */
  unsuspend(installationId: string): void;
  /** Tokens made from now on are known only so long after. */
  lag(seconds: number): void;
  /** By `get installation`, `create token`, `delete token`, and `read` or `write` with `contents`, `pulls` or `issues`. */
  readonly faults: Faults;
  ledger(): readonly GithubRecord[];
  close(): Promise<void>;
}

interface Installation extends InstallationSeed {
  readonly key: KeyObject;
  suspendedAt: Date | null;
}

interface Token {
  readonly installation: Installation;
  readonly repositories: readonly string[];
  readonly permissions: Readonly<Record<string, Level>>;
  readonly knownFrom: Date;
  readonly expiresAt: Date;
}

interface State {
  lagMs: number;
  readonly installations: Map<string, Installation>;
  readonly tokens: Map<string, Token>;
  readonly files: Map<string, string>;
  /** Pull requests and issues, by `OWNER/REPOSITORY/pulls` and the like. */
  readonly lists: Map<string, { readonly number: number; readonly title: string }[]>;
  readonly ledger: GithubRecord[];
  readonly faults: Faults;
  now(): Date;
}

/** Of every installation token. */
const tokenMs = 3_600_000;
/** Longest `exp - iat` of an App's own token. */
const assertionSecondsMax = 600;

/** GitHub's REST API as far as installation tokens go, and what private repositories hold behind them. */
export async function startGithub({
  now = () => new Date(),
}: {
  now?: () => Date;
} = {}): Promise<GithubStandin> {
  const server = createServer((request, response) => void answer(request, response, state));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  const state: State = {
    ...{
      installations: new Map(),
      tokens: new Map(),
      files: new Map(),
      lists: new Map(),
      ledger: [],
      faults: new Faults(),
      lagMs: 0,
      now,
    },
  };
  return {
    url: `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`,
    faults: state.faults,
    createInstallation: (seed) => {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      state.installations.set(seed.installationId, { ...seed, key: publicKey, suspendedAt: null });
      return String(privateKey.export({ type: 'pkcs1', format: 'pem' }));
    },
    suspend: (installationId) => setSuspended(state, installationId, now()),
    unsuspend: (installationId) => setSuspended(state, installationId, null),
    lag: (seconds) => {
      state.lagMs = seconds * 1000;
    },
    ledger: () => [...state.ledger],
    close: async () => {
      state.faults.clear();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function setSuspended({ installations }: State, id: string, at: Date | null): void {
  const installation = installations.get(id);
  if (installation !== undefined) installation.suspendedAt = at;
}

async function answer(request: IncomingMessage, response: ServerResponse, state: State): Promise<void> {
  const { method = '', url = '' } = request;
  const body = method === 'GET' ? undefined : await readJson(request);
  const bearer = bearerOf(request);
  const route = `${method} ${url.split('?')[0]}`;
  const [, installationId] = /^POST \/app\/installations\/([0-9]+)\/access_tokens$/.exec(route) ?? [];
  const [, verb, owner = '', repository = '', part = '', file = ''] =
    /^(GET|PUT|POST) \/repos\/([^/]+)\/([^/]+)\/(contents(?=\/.)|pulls$|issues$)\/?(.*)$/.exec(route) ?? [];
  const [, looked] = /^GET \/app\/installations\/([0-9]+)$/.exec(route) ?? [];
  const calls = (): { action: string; run: (lie: Lie) => JsonAnswer | Promise<JsonAnswer> } => {
    if (installationId !== undefined)
      return {
        action: 'create token',
        run: (lie) => createToken(installationId, { bearer, body, lie, state }),
      };
    if (looked !== undefined)
      return { action: 'get installation', run: (lie) => getInstallation(looked, { bearer, lie, state }) };
    if (route === 'DELETE /installation/token')
      return { action: 'delete token', run: () => deleteToken(bearer, state) };
    if (isPart(part) && (verb === 'GET' || (verb === 'PUT') === (part === 'contents'))) {
      const needed = verb === 'GET' ? 'read' : 'write';
      return {
        action: `${needed} ${part}`,
        run: () => useRepository(needed, { bearer, owner, repository, part, file, body, state }),
      };
    }
    return { action: '', run: () => problem(404, 'Not Found') };
  };
  await answerJson({ response, faults: state.faults, ...calls() });
}

/** Only its own App sees it. */
async function getInstallation(
  id: string,
  { bearer, lie, state }: Omit<Creating, 'body'>,
): Promise<JsonAnswer> {
  const installation = state.installations.get(id);
  if (!(await isApp(bearer, installation, state)) || installation === undefined)
    return problem(401, 'A JSON web token could not be decoded');
  const { owner, permissions, selection = 'selected', suspendedAt } = installation;
  return {
    status: 200,
    body: {
      id: Number(id),
      account: { login: lie === 'lie_identity' ? 'somebody-else' : owner },
      permissions: { ...permissions, metadata: 'read' },
      repository_selection: selection,
      suspended_at: suspendedAt?.toISOString().replace(/\.\d{3}Z$/, 'Z') ?? null,
    },
  };
}

interface Creating {
  readonly bearer: string;
  readonly body: unknown;
  readonly lie: Lie;
  readonly state: State;
}

async function createToken(
  installationId: string,
  { bearer, body, lie, state }: Creating,
): Promise<JsonAnswer> {
  const record = (status: number, hashedToken: string | null = null) =>
    void state.ledger.push({
      ...{ at: state.now().toISOString(), action: 'create token', installationId, hashedToken },
      ...{ repository: null, status },
    });
  const refuse = (status: number, message: string) => {
    record(status);
    return problem(status, message);
  };
  const installation = state.installations.get(installationId);
  if (!(await isApp(bearer, installation, state)) || installation === undefined)
    return refuse(401, 'A JSON web token could not be decoded');
  if (installation.suspendedAt !== null) return refuse(403, 'This installation has been suspended');
  const repositories = member(body, 'repositories') ?? [];
  const permissions = member(body, 'permissions') ?? installation.permissions;
  if (!Array.isArray(repositories) || !repositories.every((one) => installation.repositories.includes(one)))
    return refuse(422, 'There is at least one repository that does not exist or is not accessible');
  if (!isWithin(permissions, installation.permissions))
    return refuse(422, 'The permissions requested are not granted to this installation.');
  const named = repositories.map(String);
  const expiresAt = new Date(Math.floor(state.now().getTime() / 1000) * 1000 + tokenMs);
  const knownFrom = new Date(state.now().getTime() + state.lagMs);
  const token = `ghs_${randomBytes(27).toString('base64url')}`;
  const given = { ...permissions, metadata: 'read' as const };
  const selected = lie === 'lie_identity' || named.length === 0 ? installation.repositories : named;
  state.tokens.set(token, { installation, repositories: selected, permissions: given, knownFrom, expiresAt });
  record(201, hashOf(token));
  const said = new Date(expiresAt.getTime() + (lie === 'lie_longer' ? tokenMs : 0));
  return {
    status: 201,
    body: {
      token,
      expires_at: said.toISOString().replace('.000Z', 'Z'),
      permissions: given,
      repository_selection: named.length === 0 ? 'all' : 'selected',
      ...(named.length === 0
        ? {}
        : { repositories: selected.map((name) => ({ name, full_name: `${installation.owner}/${name}` })) }),
    },
  };
}

/** RS256 by the App's key, `iss` the App, not from the future, ten minutes at most. */
async function isApp(
  bearer: string,
  installation: Installation | undefined,
  { now }: State,
): Promise<boolean> {
  if (installation === undefined) return false;
  try {
    if (decodeProtectedHeader(bearer).alg !== 'RS256') return false;
    const options = { algorithms: ['RS256'], issuer: installation.appId, currentDate: now() };
    const { payload } = await jwtVerify(bearer, installation.key, options);
    const { iat = Number.NaN, exp = Number.NaN } = payload;
    return iat * 1000 <= now().getTime() && exp - iat <= assertionSecondsMax;
  } catch {
    return false;
  }
}

function isWithin(asked: unknown, given: Readonly<Record<string, Level>>): asked is Record<string, Level> {
  return Object.entries(Object(asked)).every(([name, level]) => {
    const most = name === 'metadata' ? 'read' : Object.hasOwn(given, name) ? given[name] : undefined;
    return level === most || (level === 'read' && most === 'write');
  });
}

function liveToken(bearer: string, { tokens, now }: State): Token | undefined {
  const token = tokens.get(bearer);
  if (token === undefined || token.expiresAt <= now() || token.knownFrom > now()) return undefined;
  return token.installation.suspendedAt === null ? token : undefined;
}

function deleteToken(bearer: string, state: State): JsonAnswer {
  const token = liveToken(bearer, state);
  const status = token === undefined ? 401 : 204;
  if (token !== undefined) state.tokens.delete(bearer);
  state.ledger.push({
    ...{
      at: state.now().toISOString(),
      action: 'delete token',
      hashedToken: hashOf(bearer),
      repository: null,
    },
    ...{ installationId: token?.installation.installationId ?? null, status },
  });
  return status === 204 ? { status } : problem(401, 'Bad credentials');
}

/** Parts of a repository, each with the permission that it asks for. */
const permissionOf = { contents: 'contents', pulls: 'pull_requests', issues: 'issues' } as const;
type Part = keyof typeof permissionOf;

function isPart(name: string): name is Part {
  return Object.hasOwn(permissionOf, name);
}

interface RepositoryCall {
  readonly bearer: string;
  readonly owner: string;
  readonly repository: string;
  readonly part: Part;
  readonly file: string;
  readonly body: unknown;
  readonly state: State;
}

/** A private repository that a token does not see is not there; a permission that it lacks is 403. */
function useRepository(needed: Level, call: RepositoryCall): JsonAnswer {
  const { bearer, owner, repository, part, state } = call;
  const token = liveToken(bearer, state);
  const name = `${owner}/${repository}`;
  const seen = token?.installation.owner === owner && token.repositories.includes(repository);
  const level = token?.permissions[permissionOf[part]];
  const say = (answered: JsonAnswer) => {
    state.ledger.push({
      ...{ at: state.now().toISOString(), action: `${needed} ${part}`, hashedToken: hashOf(bearer) },
      installationId: token?.installation.installationId ?? null,
      ...{ repository: name, status: answered.status },
    });
    return answered;
  };
  if (token === undefined) return say(problem(401, 'Bad credentials'));
  if (!seen) return say(problem(404, 'Not Found'));
  if (level === undefined || (needed === 'write' && level !== 'write'))
    return say(problem(403, 'Resource not accessible by integration'));
  return say(part === 'contents' ? contents(needed, call) : list(needed, call));
}

function contents(needed: Level, { owner, repository, file, body, state }: RepositoryCall): JsonAnswer {
  const at = `${owner}/${repository}/${file}`;
  if (needed === 'write') {
    state.files.set(at, String(member(body, 'content')));
    return { status: 201, body: { content: { path: file } } };
  }
  const content = state.files.get(at) ?? Buffer.from(`# ${owner}/${repository}\n`).toString('base64');
  return { status: 200, body: { type: 'file', path: file, encoding: 'base64', content } };
}

/** Pull requests or issues: all of them, or one more, which has a title. */
function list(needed: Level, { owner, repository, part, body, state }: RepositoryCall): JsonAnswer {
  const at = `${owner}/${repository}/${part}`;
  const made = state.lists.get(at) ?? [];
  if (needed === 'read') return { status: 200, body: made };
  const title = member(body, 'title');
  if (typeof title !== 'string') return problem(422, 'Validation Failed');
  const one = { number: made.length + 1, title };
  state.lists.set(at, [...made, one]);
  return { status: 201, body: one };
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

function problem(status: number, message: string): JsonAnswer {
  return {
    status,
    body: { message, documentation_url: 'https://docs.github.com/rest', status: String(status) },
  };
}
