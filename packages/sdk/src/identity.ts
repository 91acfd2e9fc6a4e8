import { Misconfigured, NoIdentity, type SourceReport } from './errors.ts';
import { Secret } from './secret.ts';
import { ofGithub, ofGitlab } from './sources/forges.ts';
import { ofGoogle } from './sources/google.ts';
import { type Environment, notSet, type Source, sourceFailed } from './sources/source.ts';
import { ofSpiffe } from './sources/spiffe.ts';

export type { Environment } from './sources/source.ts';

/** What is presented to the broker: an assertion, or the task token that speaks for one task. */
export interface Subject {
  readonly token: Secret<string>;
  readonly kind: 'jwt' | 'access_token';
  /** Where it came from, for people. */
  readonly source: string;
}

/** Asks the sources in order; the first that is there is taken, and when it fails no other is tried. */
export interface Identity {
  /** The task token of MAYFLY_TASK_TOKEN, else an assertion. */
  subject(): Promise<Subject>;
  /** A fresh assertion: files are read and commands run at each call. Rejects with NoIdentity. */
  assertion(): Promise<Subject>;
  /** Every source, which one `subject` would take and why not the others. Runs no command, asks no network. */
  sources(): Promise<readonly SourceReport[]>;
}

/** A further place where an identity may be, asked after all others. */
export type IdentitySource = Omit<Source, 'kind'>;

export interface IdentityOptions {
  /** Asked before all others for each assertion. */
  readonly assertion?: (() => string | Promise<string>) | undefined;
  readonly env: Environment;
  /** For whom a platform makes an assertion on demand: the broker's origin. */
  readonly audience: string;
  /** Places of the machine; other ones for tests. */
  readonly projectedTokenFile?: string;
  readonly productNameFile?: string;
  readonly lastSource?: IdentitySource | undefined;
}

/** Where a Kubernetes volume of `serviceAccountToken` is expected (contract.md section 2). */
const projectedToken = '/var/run/secrets/mayfly/token';
const commandTimeoutMs = 30_000;
/** As much as the broker takes (its 16 KiB), of the characters that a Bearer header may hold (RFC 6750 2.1). */
const tokenForm = /^[A-Za-z0-9._~+/=-]{1,16384}$/;

export function createIdentity({
  assertion,
  env,
  audience,
  projectedTokenFile = projectedToken,
  productNameFile,
  lastSource,
}: IdentityOptions): Identity {
  const all: readonly Source[] = [
    ofVariable('MAYFLY_TASK_TOKEN', 'access_token', env),
    ...(assertion === undefined ? [] : [ofOption(assertion)]),
    ofVariable('MAYFLY_ASSERTION', 'jwt', env),
    ofNamedFile(env),
    ofCommand(env),
    ofSpiffe(env, audience),
    ofProjectedToken(projectedTokenFile),
    ofGithub(env, audience),
    ofGitlab(env),
    ofGoogle(env, audience, { productNameFile }),
    ...(lastSource === undefined ? [] : [{ ...lastSource, kind: 'jwt' as const }]),
  ];
  const assertions = all.filter(({ kind }) => kind === 'jwt');
  return {
    subject: () => take(all),
    assertion: () => take(assertions),
    sources: async () => (await report(all)).reports,
  };
}

async function take(sources: readonly Source[]): Promise<Subject> {
  const { taken, reports } = await report(sources);
  if (taken === undefined) throw new NoIdentity(reports);
  const token = (await taken.read()).trim();
  if (!tokenForm.test(token))
    throw new Misconfigured({
      reason: 'assertion_malformed',
      says: `${taken.name} holds no token.`,
      todo: 'It must give exactly one compact JWT.',
    });
  return { token: new Secret(token), kind: taken.kind, source: taken.name };
}

async function report(
  sources: readonly Source[],
): Promise<{ taken: Source | undefined; reports: SourceReport[] }> {
  const reports: SourceReport[] = [];
  let taken: Source | undefined;
  for (const source of sources) {
    const absent = await source.absent();
    const first: boolean = absent === undefined && taken === undefined;
    if (first) taken = source;
    const says = absent ?? (first ? 'taken' : `not needed, ${taken?.name ?? ''} comes first`);
    reports.push({ source: source.name, taken: first, says });
  }
  return { taken, reports };
}

function ofVariable(name: string, kind: Subject['kind'], env: Environment): Source {
  return { name, kind, absent: () => notSet(env[name]), read: () => env[name] ?? '' };
}

function ofOption(assertion: () => string | Promise<string>): Source {
  const read = async () => {
    try {
      return await assertion();
    } catch (cause) {
      throw sourceFailed('option assertion', 'threw', cause);
    }
  };
  return { name: 'option assertion', kind: 'jwt', absent: () => undefined, read };
}

function ofNamedFile(env: Environment): Source {
  const name = 'MAYFLY_ASSERTION_FILE';
  return {
    name,
    kind: 'jwt',
    absent: () => notSet(env[name]),
    read: () => readToken(env[name] ?? '', name),
  };
}

function ofCommand(env: Environment): Source {
  const name = 'MAYFLY_ASSERTION_COMMAND';
  return {
    name,
    kind: 'jwt',
    absent: () => notSet(env[name]),
    read: () => runCommand(env[name] ?? '', name),
  };
}

function ofProjectedToken(file: string): Source {
  const name = 'Kubernetes projected token';
  const absent = async () => {
    const { stat } = await import('node:fs/promises');
    return stat(file).then(
      () => undefined,
      () => `no ${file}`,
    );
  };
  return { name, kind: 'jwt', absent, read: () => readToken(file, name) };
}

async function readToken(file: string, source: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw sourceFailed(source, `${file} cannot be read`, cause);
  }
}

/** By the shell, as its standard output. */
async function runCommand(command: string, source: string): Promise<string> {
  const [{ exec }, { promisify }] = await Promise.all([import('node:child_process'), import('node:util')]);
  try {
    return (await promisify(exec)(command, { timeout: commandTimeoutMs })).stdout;
  } catch (error) {
    // Not handed on as cause: it holds what the command printed.
    const code: unknown = Reflect.get(Object(error), 'code');
    throw sourceFailed(source, `the command failed${typeof code === 'number' ? ` with ${code}` : ''}`);
  }
}
