import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cases, unseen } from './cases.ts';
import { readProfile } from './profile.ts';
import { junit, list, textReport } from './report.ts';
import { runCases } from './run.ts';
import { discover } from './suite.ts';

const help = `conformance [--base URL --profile FILE] [--only A1,B4] [--junit FILE] [--list]

Without --profile it starts a Mayfly of its own on loopback. --base is where to connect, when that is not the issuer
of the profile. --only takes ids of cases, of lines (B4 is B4, B4.b, ...) or letters. See test/conformance/README.md.
Exit codes: 0 nothing failed, 1 something did, 2 usage, or no server to be asked.`;

interface Flags {
  readonly base?: string;
  readonly profile?: string;
  readonly only?: string;
  readonly junit?: string;
  readonly list?: boolean;
  readonly help?: boolean;
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(`conformance: ${error instanceof Error ? error.message : String(error)}`);
  return 2;
});

async function main(): Promise<number> {
  const flags = readFlags();
  if (typeof flags === 'string') return usage(flags);
  if (flags.help === true) return print(help);
  const chosen = choose(flags.only);
  if (chosen.length === 0) return usage(`no case is called ${flags.only}`);
  if (flags.list === true) return print(list(chosen, unseen));
  if (flags.base !== undefined && flags.profile === undefined) return usage('--base needs --profile');
  const results = await (flags.profile === undefined
    ? runOurs(chosen)
    : runTheirs(chosen, flags.profile, flags.base));
  if (flags.junit !== undefined) writeFileSync(flags.junit, junit(results));
  print(textReport(results));
  return results.some(({ outcome }) => outcome === 'FAILED') ? 1 : 0;
}

/** The one part that knows Mayfly is loaded only for it. */
async function runOurs(chosen: Parameters<typeof runCases>[0]) {
  const { startOurs } = await import('./ours.ts');
  console.error('starting a Mayfly on loopback ...');
  const ours = await startOurs();
  try {
    return await runCases(chosen, ours.profile);
  } finally {
    await ours.stop();
  }
}

async function runTheirs(chosen: Parameters<typeof runCases>[0], file: string, base: string | undefined) {
  const profile = await discover(readProfile(file), base);
  return runCases(chosen, profile, base === undefined ? {} : { base });
}

function readFlags(): Flags | string {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const options = { base: text, profile: text, only: text, junit: text, list: flag, help: flag };
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function choose(only: string | undefined) {
  if (only === undefined) return cases;
  const names = only.split(',').map((name) => name.trim());
  return cases.filter(
    ({ id }) =>
      names.includes(id) || names.includes(id.split('.')[0] ?? '') || names.includes(id.slice(0, 1)),
  );
}

function print(text: string): 0 {
  console.log(text);
  return 0;
}

function usage(text: string): 2 {
  console.error(`conformance: ${text}`);
  return 2;
}
