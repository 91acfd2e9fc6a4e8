import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  completeConfig,
  type Log,
  type Running,
  readFolder,
  type StartOptions,
  startBroker,
} from '@mayfly/broker';
import { devClientId, type LocalClouds, startClouds } from './clouds.ts';
import { type ForeignAccount, prepareAccount } from './foreign-account.ts';

/** How another process of this machine finds a running `mayfly dev`: <dataDir>/dev.json, mode 0600. */
export interface DevFile {
  readonly broker: string;
  readonly workloads: string;
  readonly people: string;
  readonly aws: string;
  readonly assertionBearer: string;
}

export interface DevEnvironment {
  readonly clouds: LocalClouds;
  readonly running: Running;
  readonly file: DevFile;
  stop(): Promise<void>;
}

export interface DevOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly opsListen: string;
  readonly databaseUrl?: string;
  readonly keyEncryptionKey?: string;
  readonly log?: Log;
  readonly latencyMs?: number;
  readonly scopedSessions?: boolean;
  /** STS, IAM and S3 of another system on loopback, in place of the stand-in; its owner's keys from the environment. */
  readonly awsEndpoint?: string;
  /** Beside the local issuers. */
  readonly allowLoopbackIssuers?: readonly string[];
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly decorate?: StartOptions['decorate'];
  /** Documents beside the examples, and changes to their text. */
  readonly edit?: (text: string) => string;
  say?(line: string): void;
}

const examples = fileURLToPath(new URL('../../../../examples/', import.meta.url));

/** Issuers, stand-in AWS, real PostgreSQL and the broker on loopback, with the documents of examples/. */
export async function startDev(options: DevOptions): Promise<DevEnvironment> {
  const assertionBearer = randomBytes(24).toString('hex');
  const issuer = `http://${options.listen}`;
  const clouds = await startClouds({
    ...options,
    federationIssuer: `${issuer}/federation`,
    signInCallback: `${issuer}/sign-in/callback`,
    assertionBearer,
  });
  try {
    const foreign = options.awsEndpoint === undefined ? undefined : await prepareAccount(options.awsEndpoint);
    const config = completeConfig({
      dataDir: options.dataDir,
      listen: options.listen,
      opsListen: options.opsListen,
      allowLoopbackIssuers: [
        clouds.workloads.issuer,
        clouds.people.issuer,
        ...(options.allowLoopbackIssuers ?? []),
      ],
      logFile: join(options.dataDir, 'mayfly.log'),
      signInIssuer: 'people',
      signInClientId: devClientId,
      ...(options.databaseUrl === undefined
        ? {}
        : { databaseUrl: options.databaseUrl, keyEncryptionKey: options.keyEncryptionKey }),
      ...options.settings,
    });
    const running = await startBroker({
      config,
      env: {},
      environment: 'dev',
      documents: devDocuments({ clouds, foreign, edit: options.edit }),
      ...(options.log ? { log: options.log } : {}),
      ...(options.decorate ? { decorate: options.decorate } : {}),
      ...(options.say ? { say: options.say } : {}),
    });
    await foreign?.trustFederation(config.federationIssuer);
    const file: DevFile = {
      broker: running.url,
      workloads: clouds.workloads.issuer,
      people: clouds.people.issuer,
      aws: foreign?.endpoint ?? clouds.aws.url,
      assertionBearer,
    };
    writeDevFile(options.dataDir, file);
    return { clouds, running, file, stop: () => running.stop().finally(() => clouds.close()) };
  } catch (error) {
    await clouds.close();
    throw error;
  }
}

export function devFilePath(dataDir: string): string {
  return join(dataDir, 'dev.json');
}

export function readDevFile(dataDir: string): DevFile {
  return JSON.parse(readFileSync(devFilePath(dataDir), 'utf8')) as DevFile; // Written by ourselves, mode 0600.
}

function writeDevFile(dataDir: string, file: DevFile): void {
  mkdirSync(dirname(devFilePath(dataDir)), { recursive: true });
  writeFileSync(devFilePath(dataDir), JSON.stringify(file, null, 2), { mode: 0o600 });
}

/** The files of examples/, with the addresses that this start was given. */
function devDocuments(made: {
  clouds: LocalClouds;
  foreign: ForeignAccount | undefined;
  edit: DevOptions['edit'];
}) {
  const { clouds, foreign, edit = (text: string) => text } = made;
  const addresses = new Map([
    ['http://127.0.0.1:4600', clouds.workloads.issuer],
    ['http://127.0.0.1:4601', clouds.people.issuer],
    ['http://127.0.0.1:4566', foreign?.endpoint ?? clouds.aws.url],
  ]);
  // In one pass and whole: a free port such as 46017 would be taken for 4601 and a digit.
  const moved = (text: string) =>
    text.replaceAll(/http:\/\/127\.0\.0\.1:[0-9]+/g, (address) => addresses.get(address) ?? address);
  // What this one names stands in our stand-in alone: in another account lint refuses it.
  const there = readFolder(examples).filter(
    ({ file }) => foreign === undefined || !file.endsWith('aws-services.yaml'),
  );
  return there.map(({ file, text }) => ({ file, text: edit(moved(foreign?.edit(text) ?? text)) }));
}
