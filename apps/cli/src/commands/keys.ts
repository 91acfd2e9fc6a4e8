import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  algorithmsOf,
  federationDocument,
  keyEvent,
  keyState,
  loadKeys,
  makeSigningKey,
  publishLeadMs,
  type SigningPurpose,
  signingPurposes,
} from '@mayfly/broker';
import type { Command } from 'commander';
import { fail } from '../exit.ts';
import { type ConfigFlags, load, withStore } from '../installation.ts';
import { parseFormat, printRows } from '../print.ts';

/** Tokens that a retired key has signed may live this long yet; without `--now` it is published for as long. */
const retireAfterMs = 86_400_000;

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('signing keys of this installation');
  const subcommand = (name: string, says: string) =>
    keys.command(name).description(says).option('--config <file>', 'mayfly.yaml (default: MAYFLY_CONFIG)');
  subcommand('list', 'keys with their purpose and times; never a private part')
    .option('-o, --output <format>', 'table or json', 'table')
    .action((flags: ConfigFlags & { output: string }) => list(flags));
  subcommand('rotate', 'makes the next key: published at once, signing once every cache has seen it')
    .requiredOption('--purpose <purpose>', signingPurposes.join(' or '))
    .action((flags: ConfigFlags & { purpose: string }) => rotate(flags));
  subcommand('retire <id>', 'takes a key out that signs no longer (after a day), or not yet (at once)')
    .option('--now', 'at once, for a key that has leaked: whatever it has signed is refused from now on')
    .action((id: string, flags: ConfigFlags & { now?: boolean }) => retire(id, flags));
  subcommand('export', 'static files of the federation issuer, for where clouds can fetch them')
    .requiredOption('--federation <dir>', 'folder to write to')
    .action((flags: ConfigFlags & { federation: string }) => exportFederation(flags));
}

async function list(flags: ConfigFlags & { output: string }): Promise<void> {
  const rows = await withStore(load(flags), async (store) => {
    const [now, stored] = [await store.databaseNow(), await store.keys.list()];
    return stored.map(({ wrapped: _, publicJwk: __, ...key }) => ({
      ...key,
      state: keyState(key, stored, now),
      createdAt: key.createdAt.toISOString(),
      activeFrom: key.activeFrom.toISOString(),
      retiredAt: key.retiredAt?.toISOString() ?? null,
    }));
  });
  const columns = ['id', 'purpose', 'alg', 'state', 'activeFrom', 'retiredAt'];
  printRows(rows, { format: parseFormat(flags.output), columns });
}

async function rotate(flags: ConfigFlags & { purpose: string }): Promise<void> {
  const purpose = purposeOf(flags.purpose);
  await withStore(load(flags), async (store, kek) => {
    const now = new Date();
    const activeFrom = new Date(now.getTime() + publishLeadMs);
    for (const alg of algorithmsOf[purpose]) {
      const key = await makeSigningKey(purpose, { kek, now, activeFrom, alg });
      await store.keys.insert(key, { onlyIfNone: false, audit: keyEvent('key.rotated', key) });
      console.log(`${key.id} signs ${alg} from ${key.activeFrom.toISOString()}`);
    }
    if (purpose === 'federation')
      console.error('publish it now where clouds fetch it: mayfly keys export --federation DIR');
  });
}

async function retire(id: string, flags: ConfigFlags & { now?: boolean }): Promise<void> {
  await withStore(load(flags), async (store, kek) => {
    const { ring } = await loadKeys(store, kek);
    const key = (await store.keys.list()).find((one) => one.id === id) ?? fail(1, `no key ${id}`);
    const purpose = signingPurposes.find((one) => one === key.purpose) ?? fail(1, `${id} signs nothing`);
    if (algorithmsOf[purpose].some((alg) => ring.signer(purpose, new Date(), alg).kid === id))
      fail(1, `${id} is the one that signs; rotate first, and retire it once the next one signs`);
    if (await store.keys.withdraw(id, keyEvent('key.retired', { ...key, retiredAt: new Date() })))
      return console.log(`${id} is withdrawn: it has signed nothing, and never will`);
    const at = new Date(Date.now() + (flags.now ? 0 : retireAfterMs));
    await store.keys.retire(id, at, keyEvent('key.retired', { ...key, retiredAt: at }));
    return console.log(`${id} is published until ${at.toISOString()}`);
  });
}

async function exportFederation(flags: ConfigFlags & { federation: string }): Promise<void> {
  const config = load(flags);
  await withStore(config, async (store, kek) => {
    const { ring } = await loadKeys(store, kek);
    const known = join(flags.federation, '.well-known');
    mkdirSync(known, { recursive: true });
    const document = JSON.stringify(federationDocument(config.federationIssuer));
    writeFileSync(join(known, 'openid-configuration'), document);
    writeFileSync(join(flags.federation, 'jwks'), JSON.stringify(ring.jwks('federation', new Date())));
    console.log(`${known}/openid-configuration\n${flags.federation}/jwks`);
  });
}

function purposeOf(text: string): SigningPurpose {
  return (
    signingPurposes.find((one) => one === text) ??
    fail(2, `--purpose ${text}: ${signingPurposes.join(' or ')}`)
  );
}
