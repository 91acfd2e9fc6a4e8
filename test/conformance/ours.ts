import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findEmbedded } from '@mayfly/store';
import type { JWK } from 'jose';
import { selfSigned } from '../../packages/sdk/src/testing/self-signed.ts';
import { type Child, startChild } from '../bench/children.ts';
import { freePort } from '../e2e/world.ts';
import { conformanceDetails, conformanceDocuments, names, platformClaims } from './documents.ts';
import { features, type Issuer, type Profile } from './profile.ts';
import { newKey, publicOf } from './suite.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const issuerNames = ['main', 'reuse', 'spiffe', 'kubernetes', 'github', 'gitlab'] as const;

export interface Ours {
  readonly profile: Profile;
  /** Of the certificate that `caFile` holds, for a proxy in front of it. */
  readonly serverKeyFile: string;
  stop(): Promise<void>;
}

/**
 * Two replicas as `mayfly serve` runs them, over one embedded database and under one issuer: one on plain loopback, one
 * with TLS that asks for client certificates. Beside them a stand-in AWS.
 */
export async function startOurs(): Promise<Ours> {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-conformance-'));
  chmodSync(dir, 0o711); // As root, PostgreSQL runs as its own user, who must pass through.
  const children: Child[] = [];
  const stop = async () => {
    for (const child of children.toReversed()) await child.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const [port, tlsPort] = [await freePort(), await freePort()];
    const origin = `http://127.0.0.1:${port}`;
    const clouds = await startChild(here('../bench/clouds.ts'), [`${origin}/federation`, '0']);
    children.push(clouds);
    const keys = writeKeys(dir);
    const bundle = join(dir, 'bundle');
    mkdirSync(bundle);
    writeFileSync(join(bundle, 'conformance.yaml'), conformanceDocuments(keys.fileOf, clouds.said));
    const dataDir = join(dir, 'data');
    children.push(await startBroker({ MAYFLY_DATA_DIR: dataDir, MAYFLY_BUNDLE: bundle, ...listen(port) }));
    const found = findEmbedded(dataDir);
    if (found === undefined) throw new Error('the broker runs without its database');
    const files = writeCertificates(dir);
    const tls = {
      ...{ DATABASE_URL: found.appUrl, MAYFLY_ISSUER: origin, ...listen(tlsPort) },
      MAYFLY_KEY_ENCRYPTION_KEY: join(dataDir, 'key-encryption-key'),
      ...{ MAYFLY_TLS_CERT: files.server.certFile, MAYFLY_TLS_KEY: files.server.keyFile },
      MAYFLY_TLS_CLIENT_CERTIFICATES: 'request',
    };
    children.push(await startBroker(tls));
    const mtls = { base: `https://127.0.0.1:${tlsPort}`, clients: files.clients };
    const profile = { ...profileOf(origin, keys.issuers), caFile: files.server.certFile, mtls };
    return { profile, serverKeyFile: files.server.keyFile, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function listen(port: number) {
  return { MAYFLY_LISTEN: `127.0.0.1:${port}` };
}

async function startBroker(env: Readonly<Record<string, string>>): Promise<Child> {
  const opsListen = `127.0.0.1:${await freePort()}`;
  const ready = async () => {
    const answer = await fetch(`http://${opsListen}/readyz`).catch(() => undefined);
    return answer?.status === 200;
  };
  const all = { MAYFLY_OPS_LISTEN: opsListen, MAYFLY_LOG_LEVEL: 'error', ...env };
  return startChild(here('../../apps/cli/src/main.ts'), ['serve'], { env: all, ready });
}

function profileOf(issuer: string, issuers: Profile['issuers']): Profile {
  const withAudience = Object.entries(issuers).map(([name, one]: [string, Issuer]) => {
    return [name, { ...one, audience: one.audience === '' ? issuer : one.audience }];
  });
  return {
    issuer,
    endpoints: { token: '/token', introspection: '/introspect', revocation: '/revoke', jwks: '/jwks' },
    features,
    issuers: Object.fromEntries(withAudience),
    platformClaims,
    subjects: { agent: 'agent', other: 'other', actor: 'actor', stranger: 'stranger', nobody: 'nobody' },
    resourceServers: [
      { audience: names.reports, subject: 'reports' },
      { audience: names.others, subject: 'others' },
    ],
    details: conformanceDetails(),
    detailRules: {
      required: ['type', 'tool', 'identifier'],
      granted: ['type', 'tool', 'identifier', 'actions'],
      wrong: [{ identifier: 7 }, { actions: 'read' }, { actions: ['fly'] }, { ttl: '60' }, { ttl: 0 }],
    },
    ttl: { default: 60, max: 120 },
    scope: { granted: 'write', ignored: 'https://www.googleapis.com/auth/cloud-platform' },
    bodyBytesMax: 65_536,
    resource: '/v1/whoami',
    detailSchema: '/schemas/mayfly_tool_call.json',
  };
}

/** Public parts into files that the documents name; the private ones stay in the profile. */
function writeKeys(dir: string) {
  const fileOf = (name: string) => join(dir, `${name}.json`);
  const otherUseKey = newKey('x509');
  const keyOf = (name: string) => newKey(`conformance-${name}`);
  const keys = Object.fromEntries(issuerNames.map((name) => [name, keyOf(name)]));
  for (const [name, key] of Object.entries(keys)) {
    const use = name === 'spiffe' ? 'jwt-svid' : 'sig';
    const published: JWK[] = [{ ...publicOf(key), use }];
    if (name === 'spiffe') published.push({ ...publicOf(otherUseKey), use: 'x509-svid' });
    writeFileSync(fileOf(name), JSON.stringify({ keys: published }));
  }
  const of = (name: (typeof issuerNames)[number]): Issuer => ({
    issuer: names[name],
    audience: name === 'reuse' ? names.reuseAudience : '',
    key: keys[name] ?? {},
    lifetimeSecondsMax: 3600,
  });
  const issuers: Profile['issuers'] = {
    ...{ main: of('main'), reuse: of('reuse'), kubernetes: of('kubernetes') },
    ...{ github: of('github'), gitlab: of('gitlab'), spiffe: { ...of('spiffe'), otherUseKey } },
  };
  return { fileOf, issuers };
}

function writeCertificates(dir: string) {
  const write = (name: string) => {
    const { cert, key } = selfSigned();
    const files = { certFile: join(dir, `${name}.pem`), keyFile: join(dir, `${name}-key.pem`) };
    writeFileSync(files.certFile, cert);
    writeFileSync(files.keyFile, key, { mode: 0o600 });
    return files;
  };
  const clients = [write('client-one'), write('client-two')] as const;
  return { server: write('server'), clients };
}
